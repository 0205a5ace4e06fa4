package storetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
	"hookledger/ledger"
)

// unchanged checks that records come back as they were, with every field of the envelope.
func unchanged(t *testing.T, h Harness) {
	s := h.Open(t)
	of := tenant()
	on := domain.EndpointStream(of, "ep_1")
	sequence := uint64(1<<63 + 1)
	sealed := &domain.Sealed{KeyID: "dk_1", Nonce: []byte("123456789012"), Ciphertext: []byte{0, 1, 2, 255}}
	facts := []domain.Fact{
		&domain.EventReceived{ID: "evt_1", Event: "cron.failed", SchemaVersion: 2, Timestamp: when.Add(1),
			TimestampGiven: true, Source: "a \"source\" \u2028 <&> \x00", Sequence: &sequence,
			ContentType: "application/json", Content: sealed, Size: 17},
		&domain.EventRouted{RoutedAsOf: ulid.Make(), Matches: []domain.Match{{Endpoint: "ep_1", Delivery: "dlv_1",
			EndpointRevision: 3}}, LeftOut: []domain.LeftOut{{Endpoint: "ep_2", Reason: "disabled"}}},
		&domain.AttemptStarted{Attempt: "att_1", N: 2, Trigger: domain.TriggerManual, Forced: true, Method: "POST",
			Host: "example.com:8080", Headers: []domain.Header{{Name: "a", Value: "b"}},
			Timeout: domain.Duration(15 * time.Second), StartedAt: when, Node: "n"},
		&domain.ResponseReceived{Attempt: "att_1", Status: 503, Content: sealed, Truncated: true,
			RemoteAddr: "[2001:db8::1]:443", Timings: domain.Timings{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4, Total: 10},
			TLS:        &domain.TLSFacts{Version: "1.3", Cipher: "x", ServerName: "example.com", Issuer: "i", NotAfter: when},
			RetryAfter: domain.Duration(time.Minute), Late: true},
		&domain.EndpointEnabled{},
		&domain.KeyIssued{Name: "n", Prefix: "hl_x", Hash: bytes.Repeat([]byte{7}, 32), Role: domain.RoleAdmin,
			ExpiresAt: when},
	}
	records := recordsOf(on, facts...)
	for i := range records {
		records[i].Actor = domain.Actor{Kind: "key", ID: fmt.Sprintf("key_%d", i)}
		records[i].Correlation = fmt.Sprintf("evt_%d", i)
		records[i].RecordedAt = when.Add(time.Duration(i) * 1001).In(time.FixedZone("elsewhere", 3600))
		if i%2 == 0 {
			records[i].Causation = ulid.Make()
		}
	}
	mustAppend(t, s, on, domain.NoStream, records)
	check := func(got []*domain.Record) {
		t.Helper()
		same(t, got, records, 0)
		for i, rec := range got {
			w := records[i]
			w.Revision, w.Position, w.RecordedAt = rec.Revision, rec.Position, w.RecordedAt.UTC()
			if !reflect.DeepEqual(*rec, w) {
				t.Errorf("record %d is\n%+v\n%+v, want\n%+v\n%+v", i, *rec, rec.Fact, w, w.Fact)
			}
		}
	}
	check(read(t, s.ReadStream(t.Context(), on, 0)))
	check(readTenant(t, s, 0, of))
	s = h.Reopen(t, s)
	check(read(t, s.ReadStream(t.Context(), on, 0)))
	check(readTenant(t, s, 0, of))
}

func unknownTypes(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	records := recordsOf(on,
		&domain.Unknown{Type: "WrittenByANewerOne", Version: 1, Data: []byte(`{"z":1,"a":[1.50,"\u00e9"]}`)},
		&domain.Unknown{Type: (&domain.RetryScheduled{}).RecordType(), Version: 99, Data: []byte(`{"unlike":"ours"}`)})
	mustAppend(t, s, on, domain.NoStream, records)
	for range 2 {
		got := read(t, s.ReadStream(t.Context(), on, 0))
		same(t, got, records, 0)
		for i, rec := range got {
			if !reflect.DeepEqual(rec.Fact, records[i].Fact) {
				t.Errorf("fact %d is %+v, want %+v", i, rec.Fact, records[i].Fact)
			}
		}
		s = h.Reopen(t, s)
	}
}

func callersRecords(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	records := some(on, 3)
	for i := range records {
		records[i].Revision, records[i].Position = 77, 88 // the store's to set, and ignored
	}
	before := slices.Clone(records)
	mustAppend(t, s, on, domain.NoStream, records)
	if !reflect.DeepEqual(records, before) {
		t.Errorf("an append changed the caller's records")
	}
	records[0].Correlation = "changed afterwards"
	same(t, read(t, s.ReadStream(t.Context(), on, 0)), before, 0)
}

// noise is a ciphertext of n bytes, which nothing compresses.
func noise(n int) *domain.Sealed {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return &domain.Sealed{KeyID: "dk_1", Nonce: b[:12], Ciphertext: b}
}

func tooLarge(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	mustAppend(t, s, on, domain.NoStream, some(on, 1))
	big := recordsOf(on, &domain.EventReceived{ID: "evt_1", Content: noise(domain.MaxAppend)})
	refused(t, s, on, 0, big, ledger.ErrTooLarge)
	var many []domain.Fact
	for range 4 {
		many = append(many, &domain.EventReceived{ID: "evt_1", Content: noise(domain.MaxAppend / 4)})
	}
	refused(t, s, on, 0, recordsOf(on, many...), ledger.ErrTooLarge)
	mustAppend(t, s, on, 0, some(on, 1))
}

// largestEvent appends what the largest post comes to: 512 KiB of body, for 1,000 endpoints.
func largestEvent(t *testing.T, h Harness) {
	s := h.Open(t)
	of := tenant()
	id := string(bytes.Repeat([]byte{'x'}, domain.MaxIDLength))
	on := domain.EventStream(of, id)
	const around = 1 << 10 // subject, hash and names, within the seal
	routed := &domain.EventRouted{RoutedAsOf: ulid.Make()}
	for i := range domain.MaxEndpoints {
		routed.Matches = append(routed.Matches, domain.Match{Endpoint: domain.NewID(domain.PrefixEndpoint, ulid.Make()),
			Delivery: domain.NewID(domain.PrefixDelivery, ulid.Make()), EndpointRevision: domain.Revision(i)})
	}
	records := recordsOf(on, &domain.EventReceived{ID: id, Event: id, Timestamp: when, Source: id,
		ContentType: "application/json", Content: noise(domain.MaxBody + around), Size: domain.MaxBody}, routed)
	from := s.Head()
	mustAppend(t, s, on, domain.NoStream, records)
	same(t, readTenant(t, s, from, of), records, 0)
	s = h.Reopen(t, s)
	same(t, read(t, s.ReadStream(t.Context(), on, 0)), records, 0)
}

func invalid(t *testing.T, h Harness) {
	s := h.Open(t)
	on := stream()
	mustAppend(t, s, on, domain.NoStream, some(on, 1))

	refused(t, s, on, 0, nil, ledger.ErrInvalid)
	refused(t, s, on, 0, []domain.Record{}, ledger.ErrInvalid)
	refused(t, s, on, 0, some(stream(), 1), ledger.ErrInvalid)
	refused(t, s, on, 0, append(some(on, 1), some(stream(), 1)...), ledger.ErrInvalid)
	zero := some(on, 2)
	zero[1].ID = ulid.ULID{}
	refused(t, s, on, 0, zero, ledger.ErrInvalid)
	for _, n := range []int{2, 30} {
		twice := some(on, n)
		twice[n-1].ID = twice[0].ID
		refused(t, s, on, 0, twice, ledger.ErrInvalid)
	}
	mustAppend(t, s, on, 0, some(on, 1))
}
