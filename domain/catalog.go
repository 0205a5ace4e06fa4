package domain

import (
	"embed"
	"encoding/json"
	"strings"
)

//go:embed schemas
var schemaFiles embed.FS

var builtIn = loadBuiltIn()

// BuiltInEventTypes are AgenFleet's six, which every tenant knows, by name.
func BuiltInEventTypes() []EventType { return catalogue(false) }

// OperationalEventTypes are those by which hookledger speaks of itself, by name; every tenant knows them too.
func OperationalEventTypes() []EventType { return catalogue(true) }

func catalogue(operational bool) []EventType {
	var out []EventType
	for i := range builtIn {
		if Operational(builtIn[i].Type) == operational {
			out = append(out, builtIn[i])
		}
	}
	return out
}

func builtin(name string) *EventType {
	for i := range builtIn {
		if builtIn[i].Type == name {
			return &builtIn[i]
		}
	}
	return nil
}

// The files are compiled in; one that can't be read is a broken build.
func loadBuiltIn() []EventType {
	entries, err := schemaFiles.ReadDir("schemas")
	if err != nil {
		panic(err)
	}
	var out []EventType
	for _, e := range entries {
		raw, err := schemaFiles.ReadFile("schemas/" + e.Name())
		if err != nil {
			panic(err)
		}
		var head struct {
			Description string            `json:"description"`
			Examples    []json.RawMessage `json:"examples"`
		}
		if err := json.Unmarshal(raw, &head); err != nil || len(head.Examples) == 0 {
			panic("domain: schemas/" + e.Name() + " is no schema with an example")
		}
		out = append(out, EventType{Type: strings.TrimSuffix(e.Name(), ".json"), Version: 1,
			Description: head.Description, Schema: raw, Example: head.Examples[0], BuiltIn: true})
	}
	return out
}
