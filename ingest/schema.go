package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"hookledger/domain"
)

// Limits of schemas, and of the numbers that are checked against one: exact decimals cost by their length.
const (
	MaxSchema       = 128 << 10 // bytes
	maxSchemas      = 1024      // compiled ones that are kept
	maxNumberLength = 512       // characters
	maxExponent     = 512
)

// schemas keeps compiled schemas by their content, so that tenants who share one share it here too.
type schemas struct {
	seed     maphash.Seed
	compiled *lru.Cache[uint64, compiled]
}

type compiled struct {
	source []byte
	schema *jsonschema.Schema
}

func newSchemas() *schemas {
	c, _ := lru.New[uint64, compiled](maxSchemas) // the only error is a size below 1
	return &schemas{seed: maphash.MakeSeed(), compiled: c}
}

// check checks a post's data against its type, and gives the version of the schema: 0 for an unknown type that the
// tenant accepts.
func (s *schemas) check(t *domain.Tenant, p *Post) (version int, err error) {
	if domain.Operational(p.Event) && p.Actor != domain.FollowUpActor {
		return 0, refuse("reserved_event_type", "\""+p.Event+"\" is what hookledger itself says", "use another event type")
	}
	et, ok := t.EventType(p.Event)
	if !ok {
		return 0, refuse("unknown_event_type", "there is no event type \""+p.Event+"\"",
			"register it with: hookledger event-type create "+p.Event)
	}
	if len(et.Schema) == 0 {
		return et.Version, checkObject(p.Data)
	}
	schema, err := s.get(et.Schema)
	if err != nil {
		return 0, fmt.Errorf("the schema of %s, version %d: %w", et.Type, et.Version, err)
	}
	data, err := parseValue(p.Data)
	if err != nil {
		return 0, err
	}
	if _, ok := data.(map[string]any); !ok {
		return 0, wrongType("data", "an object")
	}
	if err := schema.Validate(data); err != nil {
		var invalid *jsonschema.ValidationError
		if !errors.As(err, &invalid) {
			return 0, fmt.Errorf("check data against the schema of %s: %w", et.Type, err)
		}
		return 0, refuse("schema_mismatch", fmt.Sprintf("the data does not fit %s (schema version %d): %s",
			et.Type, et.Version, describe(invalid)),
			"see what it must be with: hookledger event-type get "+et.Type)
	}
	return et.Version, nil
}

func (s *schemas) get(source []byte) (*jsonschema.Schema, error) {
	key := maphash.Bytes(s.seed, source)
	if c, ok := s.compiled.Get(key); ok && bytes.Equal(c.source, source) {
		return c.schema, nil
	}
	schema, err := compile(source)
	if err != nil {
		return nil, err
	}
	s.compiled.Add(key, compiled{source, schema})
	return schema, nil
}

// CompileSchema says whether a JSON Schema (draft 2020-12, where it names no other) can be used for an event type; an
// absent one can. The error is a *domain.Error. References to other documents are refused, and nothing is loaded.
func CompileSchema(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	if len(schema) > MaxSchema {
		return domain.Refuse(domain.KindTooLarge, "schema_too_large", fmt.Sprintf("the schema has %d bytes", len(schema)),
			fmt.Sprintf("use at most %d bytes", MaxSchema))
	}
	_, err := compile(schema)
	var refusal *domain.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	detail := strings.TrimPrefix(err.Error(), "jsonschema: ")
	return refuse("invalid_schema", "the schema is no valid JSON Schema: "+detail,
		"see https://json-schema.org/draft/2020-12; references must stay within the schema")
}

// CheckSchema is CompileSchema for one that comes with an example, which must be what the schema asks for: it is sent
// as it stands.
func CheckSchema(schema, example json.RawMessage) error {
	if err := CompileSchema(schema); err != nil || len(schema) == 0 || len(example) == 0 {
		return err
	}
	compiled, err := compile(schema)
	if err != nil {
		return err
	}
	value, err := parseValue(example)
	if err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	if err := compiled.Validate(value); errors.As(err, &invalid) {
		return refuse("example_mismatch", "the example does not fit the schema: "+describe(invalid),
			"change the example or the schema")
	} else if err != nil {
		return fmt.Errorf("check the example against the schema: %w", err)
	}
	return nil
}

// schemaURL is the name that a schema has while it is compiled.
const schemaURL = "https://schema.invalid/schema.json"

func compile(source []byte) (*jsonschema.Schema, error) {
	doc, err := parseValue(source)
	if err != nil {
		return nil, err
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, wrongType("schema", "an object")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// noLoader keeps a tenant's schema from reading files or the network.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, errors.New("other documents are not loaded") }

// checkObject makes sure that data is a JSON object where no schema looks at it.
func checkObject(data []byte) error {
	err := decode(data, func(d *decoder) error {
		if err := d.expect("data", '{', "an object"); err != nil {
			return err
		}
		if err := d.SkipValue(); err != nil {
			return err
		}
		return d.end()
	})
	if err != nil {
		return refuseJSON(err)
	}
	return nil
}

// parseValue decodes strictly into what the schema library takes, numbers as json.Number.
func parseValue(text []byte) (v any, err error) {
	err = decode(text, func(d *decoder) error {
		if v, err = d.value(); err != nil {
			return err
		}
		return d.end()
	})
	if err != nil {
		return nil, refuseJSON(err)
	}
	return v, nil
}

func (d *decoder) value() (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return d.number(t.String())
	case '{':
		object := map[string]any{}
		for d.PeekKind() != '}' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			if object[key], err = d.value(); err != nil {
				return nil, err
			}
		}
		_, err := d.ReadToken()
		return object, err
	default: // '['; the decoder gives nothing else here
		array := []any{}
		for d.PeekKind() != ']' {
			item, err := d.value()
			if err != nil {
				return nil, err
			}
			array = append(array, item)
		}
		_, err := d.ReadToken()
		return array, err
	}
}

func (d *decoder) number(text string) (json.Number, error) {
	ok := len(text) <= maxNumberLength
	if i := strings.IndexAny(text, "eE"); ok && i >= 0 {
		exp, err := strconv.Atoi(text[i+1:])
		ok = err == nil && exp >= -maxExponent && exp <= maxExponent
	}
	if !ok {
		return "", refuse("number_out_of_range", "the number at "+quoteShort(string(d.StackPointer()))+" is out of range",
			fmt.Sprintf("use at most %d digits and exponents within %d, or send it as a string", maxNumberLength, maxExponent))
	}
	return json.Number(text), nil
}
