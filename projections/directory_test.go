package projections

import (
	"crypto/sha256"
	"errors"
	"testing"

	"hookledger/domain"
)

func TestTheDirectoryFollowsTheConfiguration(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	running(t, p)
	wait := func(pos domain.Position) {
		t.Helper()
		if err := p.Directory().WaitFor(t.Context(), pos); err != nil {
			t.Fatal(err)
		}
	}
	d := p.Directory()
	wait(l.Head())
	first, ok := d.Routing(ten)
	if !ok || len(first.Endpoints) != 2 || first.AsOf != l.records[2].ID {
		t.Fatalf("routing: %+v %v", first, ok)
	}
	if again, _ := d.Routing(ten); again != first {
		t.Error("an unchanged table was made anew")
	}
	wait(l.configure(key1, &domain.EndpointDisabled{Reason: "manual"}))
	next, _ := d.Routing(ten)
	if !next.Endpoints[0].Disabled || first.Endpoints[0].Disabled || next.AsOf == first.AsOf {
		t.Error("a change must make a new table and leave the old one alone")
	}
	wait(l.configure(key1, &domain.EndpointRemoved{}))
	if _, ok := d.Endpoint(ten, ep1); ok {
		t.Error("a removed endpoint is found")
	}
	if e, ok := d.Endpoint(ten, ep2); !ok || e.ID != ep2 {
		t.Errorf("endpoint: %+v %v", e, ok)
	}
	for _, tenant := range []string{"nobody", domain.SystemTenant} {
		if _, ok := d.Routing(tenant); ok {
			t.Errorf("there is a table of %q", tenant)
		}
	}
	if _, ok := d.Endpoint("nobody", ep2); ok {
		t.Error("an endpoint of another tenant is found")
	}
	if all := d.Tenants(); len(all) != 1 || all[0].Name != ten {
		t.Errorf("tenants: %v", all)
	}
}

func TestTheDirectoryFindsKeysByTheirHash(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	hash := sha256.Sum256([]byte("hl_secret"))
	l.append(domain.KeyStream(ten, "key_1"), ten, "", &domain.KeyIssued{Prefix: "hl_se", Hash: hash[:],
		Role: domain.RoleAdmin})
	platform := sha256.Sum256([]byte("hl_platform"))
	l.append(domain.KeyStream(domain.AnyTenant, "key_2"), domain.AnyTenant, "", &domain.KeyIssued{Hash: platform[:],
		Role: domain.RoleOperator})
	settleDown(t, l, p)
	d := p.Directory()
	k, ok := d.Key(hash)
	if !ok || k.ID != "key_1" || k.Tenant != ten || !k.Usable(l.now()) {
		t.Fatalf("%+v %v", k, ok)
	}
	if k, ok := d.Key(platform); !ok || k.Tenant != domain.AnyTenant {
		t.Errorf("%+v %v", k, ok)
	}
	if _, ok := d.Key(sha256.Sum256(nil)); ok {
		t.Error("a key that was never issued is found")
	}
	l.append(domain.KeyStream(ten, "key_1"), ten, "", &domain.KeyRevoked{})
	settleDown(t, l, p)
	if now, _ := d.Key(hash); now.Usable(l.now()) || !k.Usable(l.now()) {
		t.Error("a revoked key must not be usable, and the old value must not change")
	}
	if keys := d.Keys(ten); len(keys) != 1 || keys[0].RevokedAt.IsZero() {
		t.Errorf("keys: %+v", keys)
	}
}

// What is in memory is the same after a start, which reads it from rows, as it was live.
func TestAStartLoadsTheDirectory(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	dir := t.TempDir()
	l.tenant(ten)
	l.endpoint(ten, ep1)
	l.endpoint(ten, ep2)
	l.configure(key1, &domain.EndpointDisabled{Reason: "manual"})
	id := l.post(ten, ep1)
	l.append(domain.TenantStream(ten), ten, "", &domain.EventTypeRegistered{Type: "order.paid", Version: 1})
	hash := sha256.Sum256([]byte("hl_secret"))
	l.append(domain.KeyStream(ten, "key_1"), ten, "", &domain.KeyIssued{Hash: hash[:], Role: domain.RoleAdmin})
	for range 2 {
		p := reopened(t, l, dir)
		r, ok := p.Directory().Routing(ten)
		if !ok || len(r.Endpoints) != 2 || !r.Endpoints[0].Disabled || r.AsOf != l.records[len(l.records)-2].ID {
			t.Errorf("routing: %+v %v", r, ok)
		}
		if et, ok := r.Tenant.EventType("order.paid"); !ok || et.Version != 1 {
			t.Errorf("event type: %+v %v", et, ok)
		}
		if _, ok := p.Directory().Key(hash); !ok {
			t.Error("the key is missing")
		}
		if row, err := p.Delivery(t.Context(), ten, id); err != nil || row.Status != domain.StatusHeld {
			t.Errorf("%+v %v", row, err)
		}
		settleDown(t, l, p)
		if due := takeAll(t, l, p, key1); len(due) != 0 {
			t.Errorf("a disabled endpoint's %v are offered", due)
		}
		if err := errors.Join(p.Directory().WaitFor(t.Context(), l.Head()), p.WaitFor(t.Context(), l.Head()),
			p.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
