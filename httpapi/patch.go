package httpapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
)

const mergePatchType = "application/merge-patch+json"

// mergePatchDoc describes every PATCH.
const mergePatchDoc = "A JSON merge patch (RFC 7396): what is named is replaced, null puts the default back, what is " +
	"not named stays. With If-Match, the change is made only if nobody changed it meanwhile; else the answer is 412."

// mergePatch applies an RFC 7396 patch to a value, and gives the result. A name that it does not have, or a wrong type,
// is refused. Members named in whole are documents of their own: they are replaced, not merged.
func mergePatch[T any](current T, patch []byte, whole ...string) (T, error) {
	var next T
	if err := checkJSON(patch); err != nil {
		return next, invalidPatch(err.Error())
	}
	raw, err := json.Marshal(current)
	if err != nil {
		return next, err
	}
	var doc, change map[string]any
	if err := decodeNumbers(raw, &doc); err != nil {
		return next, err
	}
	if err := decodeNumbers(patch, &change); err != nil || change == nil {
		return next, invalidPatch("a merge patch is a JSON object")
	}
	if err := checkNames(reflect.TypeFor[T](), change, bodyAt); err != nil {
		return next, err
	}
	merged := mergeObject(doc, change)
	for _, name := range whole {
		if change[name] != nil {
			merged[name] = change[name]
		}
	}
	if raw, err = json.Marshal(merged); err != nil {
		return next, err
	}
	if err := jsonv2.Unmarshal(raw, &next, jsonv2.RejectUnknownMembers(true)); err != nil {
		return next, inField(raw, &next)
	}
	return next, nil
}

// mergeObject is MergePatch of RFC 7396 for two objects.
func mergeObject(doc, change map[string]any) map[string]any {
	out := maps.Clone(doc)
	if out == nil {
		out = map[string]any{}
	}
	for name, v := range change {
		switch v := v.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			inner, _ := out[name].(map[string]any)
			out[name] = mergeObject(inner, v)
		default:
			out[name] = v
		}
	}
	return out
}

func decodeNumbers(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return dec.Decode(v)
}

func invalidPatch(detail string) error {
	return newProblem(http.StatusBadRequest, "invalid_request", detail+": "+seeDocument)
}

// patchOf documents a PATCH's body: T, with every member optional and nullable.
func patchOf[T any](a *api, name string) func(*huma.Operation) {
	return func(op *huma.Operation) {
		schemas := a.huma.OpenAPI().Components.Schemas
		of := *huma.SchemaFromType(schemas, reflect.TypeFor[T]())
		if of.Ref != "" {
			of = *schemas.SchemaFromRef(of.Ref)
		}
		of.Required, of.Properties = nil, maps.Clone(of.Properties)
		for member, s := range of.Properties {
			if s.Ref == "" {
				c := *s
				c.Nullable = c.Type != ""
				c.Default = nil
				of.Properties[member] = &c
			}
		}
		schemas.Map()[name] = &of
		op.RequestBody.Content = map[string]*huma.MediaType{
			mergePatchType: {Schema: &huma.Schema{Ref: "#/components/schemas/" + name}}}
	}
}

func etag(r domain.Revision) string { return `"` + strconv.FormatInt(int64(r), 10) + `"` }

// headerIfMatch names the revision that a change is based on.
const headerIfMatch = "If-Match"

// parseIfMatch reads a revision, with or without quotes; none and "*" match any.
func parseIfMatch(s string) (*domain.Revision, error) {
	s = strings.TrimSpace(s)
	if s == "" || s == "*" {
		return nil, nil
	}
	n, err := strconv.ParseInt(strings.Trim(s, `"`), 10, 64)
	if err != nil || n < 0 {
		return nil, newProblem(http.StatusBadRequest, "invalid_if_match",
			"If-Match is no revision: send the revision that the resource showed, such as If-Match: \"3\"")
	}
	r := domain.Revision(n)
	return &r, nil
}

func atRevision(expected *domain.Revision, at domain.Revision, what string) error {
	if expected == nil || *expected == at {
		return nil
	}
	return domain.Refuse(domain.KindConflict, "revision_conflict", "the "+what+
		" was changed meanwhile: it is at revision "+strconv.FormatInt(int64(at), 10),
		"read it again, and repeat with its revision in If-Match")
}

// sameJSON says whether two texts are the same JSON value, but for white space and the order of names.
func sameJSON(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}
