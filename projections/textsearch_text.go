package projections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

// quoteTerm is a term of FTS5's language; none where there is no letter or digit in it.
func quoteTerm(s string, prefix bool) []string {
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
		return nil
	}
	term := `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	if prefix {
		term += "*"
	}
	return []string{term}
}

// between stands between two values, as a word that no text has: so no phrase goes from one value to the next. It is of
// Unicode's private use, which the tokenizer takes for a letter.
const between = "\n\ue000\n"

// textOf is what is indexed of an event's content: the names and values of its data, as they read, not as JSON escapes
// them.
func textOf(plain []byte) (string, error) {
	var content domain.EventContent
	if err := json.Unmarshal(plain, &content); err != nil {
		return "", fmt.Errorf("the content of an event is not readable: %w", err)
	}
	var envelope struct {
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(content.Body, &envelope); err != nil {
		return "", fmt.Errorf("the body of an event is not readable: %w", err)
	}
	d := jsontext.NewDecoder(bytes.NewReader(envelope.Data))
	var b strings.Builder
	for {
		t, err := d.ReadToken()
		if err == io.EOF { //nolint:errorlint // as jsontext documents it
			return b.String(), nil
		}
		if err != nil {
			return "", fmt.Errorf("the data of an event is not readable: %w", err)
		}
		if k := t.Kind(); k == '"' || k == '0' {
			b.WriteString(t.String())
			b.WriteString(between)
		}
	}
}
