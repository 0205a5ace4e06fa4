package cron

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

// reader finds the fields of a body.
type reader struct {
	src    *domain.Source
	fields map[string]jsontext.Value
	found  map[string]string // the JSON Pointer of each field that was found
	rest   []member          // of the body, that no field was read from
	clash  []member          // likewise, but under one of our names
}

type member struct {
	name  string
	value jsontext.Value
}

// parse reads the body: a JSON object by its fields, any other text as output.
func (r *reader) parse(body []byte) error {
	r.found = map[string]string{}
	trimmed := bytes.TrimSpace(body)
	if trimmed[0] != '{' {
		return r.plain(trimmed)
	}
	value := jsontext.Value(trimmed)
	if err := check(value); err != nil {
		return err
	}
	taken := map[string]bool{}
	for _, field := range names() {
		for _, place := range r.places(field) {
			v, ok := lookup(value, place)
			if !ok || taken[place] || v.Kind() == 'n' || field != "output" && !scalar(v) {
				continue
			}
			r.fields[field], r.found[field], taken[place] = v, place, true
			break
		}
	}
	top := map[string]bool{}
	for place := range taken {
		if !strings.Contains(place[1:], "/") {
			top[unescape(place[1:])] = true
		}
	}
	ours := names()
	each(value, func(name string, v jsontext.Value) bool {
		switch m := (member{name, v}); {
		case top[name]:
		case slices.Contains(ours, name) || name == "posted":
			r.clash = append(r.clash, m)
		default:
			r.rest = append(r.rest, m)
		}
		return true
	})
	return nil
}

// plain takes a body that is no JSON object as what the job put out.
func (r *reader) plain(body []byte) error {
	if !validText(body) {
		return refuse("invalid_body", "the body is neither JSON nor text in UTF-8", "post JSON, or text in UTF-8")
	}
	r.fields["output"] = appendString(nil, string(body))
	r.found["output"] = "the whole body"
	return nil
}

// check refuses what is ambiguous: invalid UTF-8, or a name that an object has twice.
func check(v jsontext.Value) error {
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	err := dec.SkipValue()
	if err == nil && len(bytes.TrimSpace(v[dec.InputOffset():])) > 0 {
		err = errors.New("something follows the object")
	}
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	where := "it ends too early"
	if errors.As(err, &syntax) {
		where = syntax.Err.Error() + " at byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	} else if err.Error() == "something follows the object" {
		where = err.Error()
	}
	return refuse("invalid_json", "the body begins like a JSON object and is none: "+where, "post JSON, or plain text")
}

func scalar(v jsontext.Value) bool { return v.Kind() != '{' && v.Kind() != '[' }

// lookup follows a JSON Pointer through objects and arrays.
func lookup(v jsontext.Value, pointer string) (jsontext.Value, bool) {
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = unescape(token)
		var next jsontext.Value
		i := -1
		if v.Kind() == '[' {
			n, err := strconv.Atoi(token)
			if err != nil {
				return nil, false
			}
			i = n
		}
		each(v, func(name string, m jsontext.Value) bool {
			if i == 0 || i < 0 && name == token {
				next = m
				return false
			}
			if i > 0 {
				i--
			}
			return true
		})
		if next == nil {
			return nil, false
		}
		v = next
	}
	return v, true
}

func unescape(token string) string { return strings.NewReplacer("~1", "/", "~0", "~").Replace(token) }

// each walks through the members of an object, or the elements of an array, which was checked before.
func each(v jsontext.Value, fn func(name string, v jsontext.Value) bool) {
	kind := v.Kind()
	if kind != '{' && kind != '[' {
		return
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v))
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
		if err != nil || !fn(name, m.Clone()) {
			return
		}
	}
}
