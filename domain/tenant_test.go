package domain_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

type tenant struct {
	domain.Tenant
	t *testing.T
	n domain.Revision
}

func (x *tenant) then(facts []domain.Fact, err error) *tenant {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range facts {
		x.Evolve(&domain.Record{ID: ulid.ULID{byte(x.n + 1)}, Stream: "tenant-acme.0", Tenant: "acme", Revision: x.n,
			Fact: f})
		x.n++
	}
	return x
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	x := &tenant{t: t}
	return x.then(x.Register("acme", domain.TenantSettings{}))
}

func TestTenant_RegisterAndReconfigure(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	facts, err := x.Register("acme", domain.TenantSettings{})
	refused(t, "tenant_exists", domain.KindConflict, facts, err)
	for _, name := range []string{"", "system", "*", "Acme", "a.b", strings.Repeat("a", 64)} {
		facts, err := new(domain.Tenant).Register(name, domain.TenantSettings{})
		refused(t, "invalid_tenant", domain.KindInvalid, facts, err)
	}
	if facts, err := x.Reconfigure(domain.TenantSettings{}); err != nil || facts != nil {
		t.Errorf("the same settings made %v: %v", facts, err)
	}
	x.then(x.Reconfigure(domain.TenantSettings{AcceptUnknownTypes: true}))
	if !x.Settings.AcceptUnknownTypes || x.Revision != 1 || x.AsOf != (ulid.ULID{2}) || x.Name != "acme" {
		t.Errorf("%+v", x.Tenant)
	}
	facts, err = new(domain.Tenant).Reconfigure(domain.TenantSettings{})
	refused(t, "tenant_not_found", domain.KindNotFound, facts, err)
	facts, err = new(domain.Tenant).RegisterEventType("order.paid", "", nil, nil, false)
	refused(t, "tenant_not_found", domain.KindNotFound, facts, err)
}

func TestTenant_UnknownTypesAreTakenWhereTheTenantSaysSo(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	if _, ok := x.EventType("order.paid"); ok {
		t.Error("an unknown type is known")
	}
	x.then(x.Reconfigure(domain.TenantSettings{AcceptUnknownTypes: true}))
	if et, ok := x.EventType("order.paid"); !ok || et.Version != 0 || et.Schema != nil {
		t.Errorf("%+v %v: it is marked by version 0", et, ok)
	}
	if _, ok := x.EventType("Order Paid"); ok {
		t.Error("a name that is not valid is taken")
	}
	// That it is taken does not make it registered.
	facts, err := x.RegisterEventType("order.paid", "", nil, nil, true)
	refused(t, "event_type_not_found", domain.KindNotFound, facts, err)
	x.then(x.RegisterEventType("order.paid", "", nil, nil, false))
}

func TestTenant_EventTypes(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	schema, example := json.RawMessage(`{"type":"object"}`), json.RawMessage(`{"orderId":"o_1"}`)
	before := x.Clone()
	x.then(x.RegisterEventType("order.paid", "An order was paid.", schema, example, false))
	if et, ok := x.EventType("order.paid"); !ok || et.Version != 1 || et.BuiltIn || string(et.Example) != string(example) {
		t.Fatalf("%+v", et)
	}
	if _, ok := before.EventType("order.paid"); ok {
		t.Error("a clone changed with its original")
	}
	second := x.Clone()
	x.then(x.RegisterEventType("order.paid", "", nil, nil, true))
	if et, _ := x.EventType("order.paid"); et.Version != 2 || et.Schema != nil {
		t.Fatalf("%+v", et)
	}
	if et, _ := second.EventType("order.paid"); et.Version != 1 {
		t.Error("a clone changed with its original")
	}
	facts, err := x.RegisterEventType("order.paid", "", nil, nil, false)
	refused(t, "event_type_exists", domain.KindConflict, facts, err)
	facts, err = x.RegisterEventType("order.refunded", "", nil, nil, true)
	refused(t, "event_type_not_found", domain.KindNotFound, facts, err)
	facts, err = x.RegisterEventType("order.*", "", nil, nil, false)
	refused(t, "invalid_event_type", domain.KindInvalid, facts, err)

	// The built-in ones belong to every tenant, and get versions like any other.
	facts, err = x.RegisterEventType("cron.failed", "", nil, nil, false)
	refused(t, "event_type_exists", domain.KindConflict, facts, err)
	x.then(x.RegisterEventType("cron.failed", "Ours.", schema, nil, true))
	if et, _ := x.EventType("cron.failed"); et.Version != 2 || !et.BuiltIn || et.Description != "Ours." {
		t.Fatalf("%+v", et)
	}
	var names []string
	for _, et := range x.EventTypes() {
		names = append(names, et.Type)
	}
	if len(names) != 11 || !slices.IsSorted(names) || !slices.Contains(names, "order.paid") {
		t.Errorf("%v", names)
	}
	if len((&domain.Tenant{}).EventTypes()) != 10 {
		t.Error("a new tenant knows the six, and our four")
	}
	for _, et := range domain.OperationalEventTypes() {
		for _, again := range []bool{false, true} {
			if _, err := x.RegisterEventType(et.Type, "Mine.", nil, nil, again); domain.Code(err) != "reserved_event_type" {
				t.Errorf("%s: %v", et.Type, err)
			}
		}
	}
}

func TestAPIKey_Life(t *testing.T) {
	t.Parallel()
	fold := func(k *domain.APIKey, at time.Time, facts []domain.Fact, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range facts {
			k.Evolve(&domain.Record{Stream: "access-t.key_1", Tenant: "t", Revision: k.Revision + 1, RecordedAt: at, Fact: f})
		}
	}
	k := &domain.APIKey{Revision: domain.NoStream}
	if k.Usable(start) {
		t.Error("a key that was never issued opens something")
	}
	facts, err := k.Revoke()
	refused(t, "key_not_found", domain.KindNotFound, facts, err)
	issued := domain.KeyIssued{Name: "ci", Prefix: "hl_ab", Hash: []byte{1}, Role: domain.RoleProducer,
		ExpiresAt: start.Add(time.Hour)}
	facts, err = k.Issue(issued, start)
	fold(k, start, facts, err)
	if k.ID != "key_1" || k.Tenant != "t" || k.Role != domain.RoleProducer || k.CreatedAt != start || k.Name != "ci" {
		t.Fatalf("%+v", k)
	}
	for at, want := range map[time.Duration]bool{0: true, time.Hour - 1: true, time.Hour: false, 2 * time.Hour: false} {
		if k.Usable(start.Add(at)) != want {
			t.Errorf("after %s: %v", at, !want)
		}
	}
	facts, err = k.Issue(issued, start)
	refused(t, "key_exists", domain.KindConflict, facts, err)
	facts, err = k.Revoke()
	fold(k, start.Add(time.Minute), facts, err)
	if k.Usable(start) || k.RevokedAt != start.Add(time.Minute) {
		t.Fatalf("%+v", k)
	}
	if facts, err := k.Revoke(); facts != nil || err != nil {
		t.Errorf("revoked again: %v %v", facts, err)
	}
}

func TestAPIKey_RefusesABadOne(t *testing.T) {
	t.Parallel()
	facts, err := new(domain.APIKey).Issue(domain.KeyIssued{Role: "root"}, start)
	refused(t, "invalid_role", domain.KindInvalid, facts, err)
	facts, err = new(domain.APIKey).Issue(domain.KeyIssued{Role: domain.RoleAdmin, ExpiresAt: start}, start)
	refused(t, "invalid_expiry", domain.KindInvalid, facts, err)
	for _, r := range domain.Roles() {
		if _, err := new(domain.APIKey).Issue(domain.KeyIssued{Role: r}, start); err != nil || !r.Valid() {
			t.Errorf("%s: %v", r, err)
		}
	}
}
