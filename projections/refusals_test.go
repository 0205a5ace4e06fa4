package projections

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"hookledger/domain"
)

// TestRefusalsAreFolded: each record has a row, is found by its key and reason, and is the same when it is folded anew.
func TestRefusalsAreFolded(t *testing.T) {
	t.Parallel()
	l := newFakeLedger()
	l.tenant(ten)
	p := l.opened(t, nil)
	for i := range 6 {
		l.pass(time.Minute)
		key, reason := fmt.Sprint("key_", i%2), fmt.Sprint("reason_", i%3)
		l.append(domain.RefusalStream(ten, fmt.Sprint("rfs_", i)), ten, "",
			&domain.EventRefused{Reason: reason, Key: key, Count: i, FirstAt: start, LastAt: start.Add(time.Second)})
	}
	l.append(domain.RefusalStream(other, "rfs_other"), other, "", &domain.EventRefused{Reason: "reason_0", Count: 1})
	ctx := t.Context()
	if err := p.history.catchUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		f    RefusalFilter
		want string
	}{
		{RefusalFilter{List: List{Tenant: ten}}, "5 4 3 2 1 0"},
		{RefusalFilter{List: List{Tenant: ten, Ascending: true, CreatedAfter: start.Add(4 * time.Minute)}}, "4 5"},
		{RefusalFilter{List: List{Tenant: ten}, Key: "key_1"}, "5 3 1"},
		{RefusalFilter{List: List{Tenant: ten}, Reason: "reason_1"}, "4 1"},
		{RefusalFilter{List: List{Tenant: ten}, Key: "key_1", Reason: "reason_1"}, "1"},
		{RefusalFilter{List: List{Tenant: other}}, "1"},
	} {
		page, err := p.Refusals(ctx, c.f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range page.Rows {
			got = append(got, fmt.Sprint(r.Refused.Count))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %v, want %s", c.f, got, c.want)
		}
		c.f.Cursor = cursor{5, "x"}.encode()
		query, args, err := refusalList(c.f).build()
		if err != nil {
			t.Fatal(err)
		}
		e := &explaining{queryer: p.db.r}
		if err := scanRows(ctx, e, query, args, func(*sql.Rows) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if plan := strings.Join(e.plans, "\n"); strings.Contains(plan, "SCAN ") || strings.Contains(plan, "B-TREE") {
			t.Errorf("%s\n%s", query, plan)
		}
	}
	digest, err := p.Digest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.opened(t, func(c *Config) { c.FlushSize = 1 }).Digest(ctx); err != nil || got != digest {
		t.Errorf("folded record by record it is %s, want %s (%v)", got, digest, err)
	}
}
