package main

import (
	"bytes"
	"encoding/json"
	"strconv"

	"hookledger/cmd/hookledger/output"
)

// member is one member of a JSON object.
type member struct{ name, value string }

// members gives an object's members in their order, those of objects within it as "outer.inner"; numbers have at most
// three digits behind the point.
func members(raw json.RawMessage) []member {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil
	}
	var out []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return out
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return out
		}
		key, _ := name.(string)
		if value[0] == '{' {
			for _, m := range members(value) {
				out = append(out, member{key + "." + m.name, m.value})
			}
			continue
		}
		text := string(value)
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			text = output.Float(f, 3)
		}
		out = append(out, member{key, text})
	}
	return out
}
