package httpapi

import (
	"encoding"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

// fieldFault is what is wrong with one field of a body. It never quotes the value.
type fieldFault struct {
	at   string // such as body.agenfleet.every
	what string
	fix  string
}

// Error is written so that parseFault reads it: huma hands on nothing of an error but its text.
func (f *fieldFault) Error() string { return f.at + ": " + f.what + ": " + f.fix }

func parseFault(text string) *fieldFault {
	parts := strings.SplitN(text, ": ", 3)
	if len(parts) < 3 || !strings.HasPrefix(parts[0], bodyAt+".") {
		return nil
	}
	return &fieldFault{parts[0], parts[1], parts[2]}
}

func (f *fieldFault) problem() *Problem {
	p := newProblem(http.StatusBadRequest, "invalid_request", f.Error())
	p.Fix = f.fix
	p.Errors = []FieldProblem{{Location: f.at, Message: f.what}}
	return p
}

// bodyAt is where a field of the body's own stands.
const bodyAt = "body"

const seeDocument = "see /openapi.json for what this route takes"

// inField says which field of a body can't be read into v's type, and what it takes, without naming types of ours.
func inField(data []byte, v any) error {
	again := reflect.New(reflect.TypeOf(v).Elem())
	err := jsonv2.Unmarshal(data, again.Interface())
	var found *jsonv2.SemanticError
	if !errors.As(err, &found) || found.GoType == nil {
		return newProblem(http.StatusBadRequest, "invalid_request", "a field of the body has a value of a wrong type: "+
			seeDocument)
	}
	what, fix := takes(found.GoType)
	return &fieldFault{fieldAt(found.JSONPointer), what, fix}
}

// fieldAt writes a place as the API's other errors do.
func fieldAt(p jsontext.Pointer) string {
	at := bodyAt
	for token := range p.Tokens() {
		if token != "" && strings.Trim(token, "0123456789") == "" {
			at += "[" + shortened(token) + "]"
		} else {
			at += within(token)
		}
	}
	return at
}

// within names a member of an object: what is more than a word, as keys of metadata may be, is quoted, and has no colon
// in it, at which parseFault would end the place.
func within(name string) string {
	name = shortened(name)
	notOfWord := func(r rune) bool { return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	if name != "" && strings.IndexFunc(strings.TrimSuffix(name, cutOff), notOfWord) < 0 {
		return "." + name
	}
	return "[" + strings.ReplaceAll(strconv.Quote(name), ":", `\u003a`) + "]"
}

// takes says what a field of a type is given, and how.
func takes(t reflect.Type) (what, fix string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case reflect.TypeFor[domain.Duration]():
		return "takes a duration", `write it like "20s" or "1h30m"`
	case reflect.TypeFor[time.Time]():
		return "takes a time", `write it like "2026-02-01T15:04:05Z"`
	case reflect.TypeFor[JSONObject]():
		return "takes a JSON object", seeDocument
	}
	switch t.Kind() {
	case reflect.String:
		return "takes a text", "put it in quotes"
	case reflect.Bool:
		return "takes true or false", "write it without quotes"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "takes a whole number", "write it without quotes, as far as 64 bits hold it"
	case reflect.Float64:
		return "takes a number", "write it without quotes"
	case reflect.Slice:
		return "takes a list", "put it in [ ]"
	}
	return "takes a JSON object", seeDocument
}

// member is a field that a JSON object has.
type member struct {
	name string
	of   reflect.Type
}

// membersOf lists the fields of a type that is read from a JSON object; nil: any, or the type reads itself.
func membersOf(t reflect.Type) []member {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	reads := func(of reflect.Type) bool { return reflect.PointerTo(t).Implements(of) }
	if t.Kind() != reflect.Struct || reads(reflect.TypeFor[json.Unmarshaler]()) ||
		reads(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	var out []member
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			out = append(out, member{name, f.Type})
		}
	}
	return out
}

// checkNames refuses a name that a type does not have, be its value null or not.
func checkNames(t reflect.Type, object map[string]any, at string) error {
	members := membersOf(t)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		i := slices.IndexFunc(members, func(m member) bool { return m.name == name })
		if members != nil && i < 0 {
			return &fieldFault{at + within(name), "there is no such field", rightName(members, name)}
		}
		inner, ok := object[name].(map[string]any)
		if !ok || i < 0 {
			continue
		}
		if err := checkNames(members[i].of, inner, at+within(name)); err != nil {
			return err
		}
	}
	return nil
}

// cutOff ends what was shortened.
const cutOff = "…"

// shortened keeps a long name out of an answer.
func shortened(name string) string { return shortenedTo(64, name) }

func shortenedTo(longest int, text string) string {
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + cutOff
	}
	return text
}

// rightName says what to write in place of a name that is none.
func rightName(members []member, name string) string {
	var names []string
	for _, m := range members {
		if strings.EqualFold(m.name, name) {
			return `write it "` + m.name + `"`
		}
		names = append(names, m.name)
	}
	for _, m := range members {
		if slices.ContainsFunc(membersOf(m.of), func(inner member) bool { return inner.name == name }) {
			return `it belongs under "` + m.name + `", so send {"` + m.name + `": {"` + name + `": …}}`
		}
	}
	return "use " + strings.Join(names, ", ")
}
