package cron

import (
	"bytes"
	"slices"
	"strings"

	"hookledger/domain"
	"hookledger/sources/pointer"
)

// reader finds the fields of a body.
type reader struct {
	src    *domain.Source
	fields map[string]pointer.Value
	found  map[string]string // the JSON Pointer of each field that was found
	rest   []member          // of the body, that no field was read from
	clash  []member          // likewise, but under one of our names
}

type member struct {
	name  string
	value pointer.Value
}

// parse reads the body: a JSON object by its fields, any other text as output.
func (r *reader) parse(body []byte) error {
	r.found = map[string]string{}
	trimmed := bytes.TrimSpace(body)
	if trimmed[0] != '{' {
		return r.plain(trimmed)
	}
	value, err := pointer.Check(trimmed)
	if err != nil {
		return refuse("invalid_json", "the body begins like a JSON object and is none: "+err.Error(),
			"post JSON, or plain text")
	}
	taken := map[string]bool{}
	for _, field := range names() {
		for _, place := range r.places(field) {
			v, ok := pointer.Get(value, place)
			if !ok || taken[place] || v.Kind() == 'n' || field != "output" && !pointer.Scalar(v) {
				continue
			}
			r.fields[field], r.found[field], taken[place] = v, place, true
			break
		}
	}
	top := map[string]bool{}
	for place := range taken {
		if !strings.Contains(place[1:], "/") {
			top[pointer.Unescape(place[1:])] = true
		}
	}
	ours := names()
	pointer.Each(value, func(name string, v pointer.Value) bool {
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
