package projections

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"hookledger/domain"
)

// TestTheDirectoryFollowsSources: added, changed with another token, removed; and all of it again after a start from
// the rows.
func TestTheDirectoryFollowsSources(t *testing.T) {
	t.Parallel()
	l, p := ready(t, nil)
	running(t, p)
	d := p.Directory()
	cron := func(token string) domain.SourceConfig {
		hash := sha256.Sum256([]byte(token))
		return domain.SourceConfig{Kind: domain.SourceCron, TimeZone: "UTC", Cron: &domain.CronConfig{TokenHash: hash[:]}}
	}
	at := l.append(domain.SourceStream(ten, "src_1"), ten, "", &domain.SourceAdded{Config: cron("one")},
		&domain.SourceChanged{Config: cron("two")})
	at = max(at, l.append(domain.SourceStream(ten, "src_2"), ten, "", &domain.SourceAdded{Config: domain.SourceConfig{
		Kind: domain.SourceAgenFleet, Poll: &domain.PollConfig{}}}))
	at = max(at, l.append(domain.SourceStream(ten, "src_3"), ten, "", &domain.SourceAdded{Config: cron("three")},
		&domain.SourceRemoved{}))
	at = max(at, l.append(domain.PollStream(ten, "src_2"), ten, "", &domain.SourcePolled{What: domain.PollAgents,
		Content: &domain.Sealed{KeyID: "dk", Nonce: []byte("n"), Ciphertext: []byte("c")}}))
	if err := d.WaitFor(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	<-d.SourcesChanged()
	look := func(d *Directory) {
		t.Helper()
		all := d.Sources(ten)
		if len(all) != 2 || all[0].ID != "src_1" || all[1].ID != "src_2" || len(d.Sources("nobody")) != 0 ||
			len(d.Sources(domain.AnyTenant)) != 2 {
			t.Fatalf("sources: %v", all)
		}
		for token, want := range map[string]bool{"one": false, "two": true, "three": false} {
			if s, ok := d.CronSource(sha256.Sum256([]byte(token))); ok != want || ok && s.ID != "src_1" {
				t.Errorf("token %s: %v %v", token, s, ok)
			}
		}
		if s, ok := d.Source(ten, "src_1"); !ok || !bytes.Equal(s.Config.Cron.TokenHash, cron("two").Cron.TokenHash) {
			t.Errorf("source: %+v %v", s, ok)
		}
		if _, ok := d.Source("nobody", "src_1"); ok {
			t.Error("a source of another tenant is found")
		}
	}
	look(d)
	if err := p.WaitFor(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	again, b := newDirectory(&progress{}), p.Backlog()
	if err := p.db.load(t.Context(), again, b); err != nil {
		t.Fatal(err)
	}
	look(again)
}
