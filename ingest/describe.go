package ingest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxFaults is how many faults of data an error names.
const maxFaults = 5

// describe says which fields are at fault and what was expected of each. It quotes the schema and the names of fields,
// never their values: errors are logged, and data is sealed for a reason.
func describe(err *jsonschema.ValidationError) string {
	faults := slices.Compact(slices.Sorted(slices.Values(collect(nil, err))))
	more := ""
	if n := len(faults) - maxFaults; n > 0 {
		faults, more = faults[:maxFaults], fmt.Sprintf("; and %d more", n)
	}
	return strings.Join(faults, "; ") + more
}

// collect appends the faults that have no further cause.
func collect(to []string, err *jsonschema.ValidationError) []string {
	if len(err.Causes) == 0 {
		return append(to, pointer(err.InstanceLocation)+" "+expected(err.ErrorKind))
	}
	for _, cause := range err.Causes {
		to = collect(to, cause)
	}
	return to
}

// pointer is a JSON Pointer from the post.
func pointer(location []string) string {
	var b strings.Builder
	b.WriteString("/data")
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, name := range location {
		b.WriteByte('/')
		b.WriteString(strings.Trim(quoteShort(escape.Replace(name)), `"`))
	}
	return b.String()
}

func expected(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Required:
		return "lacks " + names(k.Missing)
	case *kind.Type:
		return "is " + k.Got + ", must be " + strings.Join(k.Want, " or ")
	case *kind.Enum:
		return "must be one of " + values(k.Want...)
	case *kind.Const:
		return "must be " + values(k.Want)
	case *kind.Format:
		return "is no " + k.Want
	case *kind.Pattern:
		return "does not match " + quoteShort(k.Want)
	case *kind.Minimum:
		return "must be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "must be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + decimal(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d fields", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d fields", k.Want)
	case *kind.AdditionalProperties:
		return "must not have " + names(k.Properties)
	case *kind.DependentRequired:
		return "lacks " + names(k.Missing) + ", which goes with " + quoteShort(k.Prop)
	case *kind.UniqueItems:
		return fmt.Sprintf("has equal items, %d and %d", k.Duplicates[0], k.Duplicates[1])
	case *kind.FalseSchema:
		return "must not be there"
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return "breaks the schema's " + quoteShort(strings.Join(path, "/"))
	}
	return "breaks the schema"
}

func names(of []string) string {
	quoted := make([]string, len(of))
	for i, name := range of {
		quoted[i] = quoteShort(name)
	}
	slices.Sort(quoted)
	return strings.Join(quoted, ", ")
}

func values(of ...any) string {
	texts := make([]string, len(of))
	for i, v := range of {
		raw, err := json.Marshal(v)
		if err != nil {
			return "the schema's values"
		}
		texts[i] = string(raw)
	}
	return strings.Join(texts, ", ")
}

// decimal writes a bound of a schema for a reader; what checks is exact.
func decimal(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}
