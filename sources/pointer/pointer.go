package pointer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Value is a JSON text that Check has found sound. What is found in one is a part of it: it must not be changed.
type Value = jsontext.Value

// Check makes sure that the text is one JSON value: invalid UTF-8, a name that an object has twice and anything behind
// the value are errors, which say where.
func Check(text []byte) (Value, error) {
	v := Value(bytes.TrimSpace(text))
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if err := dec.SkipValue(); err != nil {
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("%w at byte %d", syntax.Err, syntax.ByteOffset)
		}
		return nil, err
	}
	if n := dec.InputOffset(); n < int64(len(v)) {
		return nil, fmt.Errorf("something follows the value at byte %d", n)
	}
	return v, nil
}

// Get follows a JSON Pointer through objects and arrays; "" is the value itself.
func Get(v Value, pointer string) (Value, bool) {
	if pointer == "" {
		return v, true
	}
	for token := range strings.SplitSeq(pointer[1:], "/") {
		next, ok := step(v, Unescape(token))
		if !ok {
			return nil, false
		}
		v = next
	}
	return v, true
}

func step(v Value, token string) (next Value, found bool) {
	index := -1
	if v.Kind() == '[' {
		n, err := strconv.ParseUint(token, 10, 31)
		if err != nil {
			return nil, false
		}
		index = int(n)
	}
	i := 0
	Each(v, func(name string, m Value) bool {
		found = i == index || index < 0 && name == token
		if found {
			next = m
		}
		i++
		return !found
	})
	return next, found
}

var escapes = strings.NewReplacer("~1", "/", "~0", "~")

// Unescape reads one token of a JSON Pointer.
func Unescape(token string) string { return escapes.Replace(token) }

// Each walks through the members of an object, or the elements of an array, until fn returns false. It does nothing
// with other values.
func Each(v Value, fn func(name string, v Value) bool) {
	kind := v.Kind()
	if kind != '{' && kind != '[' {
		return
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(v)) // which it reads in place
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() != '}' && dec.PeekKind() != ']' {
		name := ""
		if kind == '{' {
			t, err := dec.ReadToken()
			if err != nil {
				return
			}
			name = t.String()
		}
		m, err := dec.ReadValue()
		if err != nil {
			return
		}
		end := int(dec.InputOffset())
		if !fn(name, v[end-len(m):end:end]) {
			return
		}
	}
}

// Scalar says whether a value is no object and no array.
func Scalar(v Value) bool { return v.Kind() != '{' && v.Kind() != '[' }

// Text is a string's text, or a number as it is written; "" of anything else.
func Text(v Value) string {
	switch v.Kind() {
	case '"':
		var s string
		_ = json.Unmarshal(v, &s) // it was checked
		return s
	case '0':
		return string(v)
	}
	return ""
}
