package domain

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"
)

// EventType is a type of event that a tenant knows.
type EventType struct {
	Type        string
	Version     int // 0: unknown type, accepted without a check
	Description string
	Schema      json.RawMessage
	Example     json.RawMessage
	BuiltIn     bool
}

// Tenant is folded from a tenant's stream. The built-in event types belong to every tenant; registering one of their
// names adds a version to it.
type Tenant struct {
	Name     string
	Settings TenantSettings
	Revision Revision
	AsOf     ulid.ULID // the last record folded
	types    map[string]EventType
}

// Exists says that the tenant was registered.
func (t *Tenant) Exists() bool { return t.Name != "" }

// Clone gives a copy that can be evolved without changing t.
func (t *Tenant) Clone() *Tenant {
	c := *t
	c.types = maps.Clone(t.types)
	return &c
}

// Evolve folds one record of the tenant's stream.
func (t *Tenant) Evolve(r *Record) {
	t.Revision, t.AsOf = r.Revision, r.ID
	switch f := r.Fact.(type) {
	case *TenantRegistered:
		t.Name, t.Settings = f.Name, f.Settings
	case *TenantReconfigured:
		t.Settings = f.Settings
	case *EventTypeRegistered:
		if t.types == nil {
			t.types = map[string]EventType{}
		}
		t.types[f.Type] = EventType{Type: f.Type, Version: f.Version, Description: f.Description, Schema: f.Schema,
			Example: f.Example, BuiltIn: builtin(f.Type) != nil}
	}
}

// EventType finds a type by name. An unknown one is given with version 0 where the tenant accepts unknown types.
func (t *Tenant) EventType(name string) (EventType, bool) {
	if et, ok := t.types[name]; ok {
		return et, true
	}
	if et := builtin(name); et != nil {
		return *et, true
	}
	if t.Settings.AcceptUnknownTypes && ValidEventType(name) {
		return EventType{Type: name}, true
	}
	return EventType{}, false
}

// EventTypes lists the known types by name.
func (t *Tenant) EventTypes() []EventType {
	all := map[string]EventType{}
	for _, et := range builtIn {
		all[et.Type] = et
	}
	maps.Copy(all, t.types)
	out := make([]EventType, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[name])
	}
	return out
}

// Register decides on a new tenant.
func (t *Tenant) Register(name string, settings TenantSettings) ([]Fact, error) {
	if !ValidTenant(name) {
		return nil, Refuse(KindInvalid, "invalid_tenant", "the tenant's name is not valid",
			"use 1 to 63 characters of a-z 0-9 _ -, other than \"system\"")
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	if t.Exists() {
		return nil, Refuse(KindConflict, "tenant_exists", "the tenant \""+name+"\" exists already", "choose another name")
	}
	return []Fact{&TenantRegistered{Name: name, Settings: settings}}, nil
}

// Reconfigure decides on new settings. Settings that are the same make no record.
func (t *Tenant) Reconfigure(settings TenantSettings) ([]Fact, error) {
	if !t.Exists() {
		return nil, errNoTenant()
	}
	if t.Settings == settings {
		return nil, nil
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	return []Fact{&TenantReconfigured{Settings: settings}}, nil
}

func errNoTenant() error {
	return Refuse(KindNotFound, "tenant_not_found", "there is no such tenant", "list them with: hookledger tenant list")
}

// RegisterEventType decides on a new type, or, with update, on the next version of one that is there. The schema must
// have been compiled by the caller; nil accepts any object.
func (t *Tenant) RegisterEventType(name, description string, schema, example json.RawMessage,
	update bool) ([]Fact, error) {
	if !t.Exists() {
		return nil, errNoTenant()
	}
	if !ValidEventType(name) {
		return nil, Refuse(KindInvalid, "invalid_event_type", "the event type's name is not valid",
			"use words of a-z 0-9 _ separated by dots, such as order.paid")
	}
	if Operational(name) {
		return nil, Refuse(KindConflict, "reserved_event_type", "\""+name+"\" is what hookledger itself says",
			"use another name; its schema is shown by: hookledger event-type get "+name)
	}
	known := t.Clone()
	known.Settings.AcceptUnknownTypes = false
	old, exists := known.EventType(name)
	if exists && !update {
		return nil, Refuse(KindConflict, "event_type_exists", "the event type \""+name+"\" exists already",
			"change it with: hookledger event-type update "+name)
	}
	if !exists && update {
		return nil, Refuse(KindNotFound, "event_type_not_found", "there is no event type \""+name+"\"",
			"register it with: hookledger event-type create "+name)
	}
	return []Fact{&EventTypeRegistered{Type: name, Version: old.Version + 1, Description: description, Schema: schema,
		Example: example}}, nil
}
