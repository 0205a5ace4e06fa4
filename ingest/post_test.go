package ingest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

func TestPostAppendsReceivedAndRouted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.endpoint("ep_all", false, "*")
	f.dir.endpoint("ep_cron", false, "cron.*")
	f.dir.endpoint("ep_off", true, "cron.completed")
	f.dir.endpoint("ep_other", false, "agent.*")
	at, seq := time.Date(2026, 3, 17, 9, 0, 0, 5, time.FixedZone("", 3600)), uint64(7)
	p := post("my-id_1", `{"runId" : "run_1",  "jobId":"job_1", "x": 1.10 }`)
	p.Timestamp, p.Subject, p.Source, p.Sequence = &at, "user \"1\" é", "agenfleet", &seq
	r := f.must(p)

	records := f.records("my-id_1")
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	received, routed := records[0].Fact.(*domain.EventReceived), records[1].Fact.(*domain.EventRouted)
	want := *received
	want.ID, want.Event, want.SchemaVersion, want.Timestamp, want.TimestampGiven = "my-id_1", "cron.completed", 1,
		at.UTC(), true
	want.Source, want.Sequence, want.ContentType = "agenfleet", &seq, "application/json"
	if !reflect.DeepEqual(*received, want) {
		t.Errorf("received %+v", received)
	}
	for i, rec := range records {
		if rec.Actor != actor || rec.Correlation != "my-id_1" || rec.Tenant != "acme" ||
			!rec.RecordedAt.Equal(noon.Truncate(time.Microsecond)) {
			t.Errorf("record %d: %+v", i, rec)
		}
	}
	if records[1].Causation != records[0].ID || !records[0].Causation.IsZero() {
		t.Error("the records do not say what caused them")
	}

	// What was sealed is the envelope, with data exactly as it was sent.
	plain, err := f.vault.Open(t.Context(), vault.PlaceOf(records[0]), received.Content)
	if err != nil {
		t.Fatal(err)
	}
	content, err := parseContent(plain)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"id":"my-id_1","event":"cron.completed","timestamp":"2026-03-17T08:00:00.000000005Z","data":` +
		string(p.Data) + `}`
	if string(content.Body) != body || content.Subject != p.Subject || received.Size != len(body) {
		t.Errorf("content %s", plain)
	}

	wantRouted := &domain.EventRouted{RoutedAsOf: f.dir.routing.AsOf, Matches: []domain.Match{
		{Endpoint: "ep_all", Delivery: domain.DeliveryID(noon, "acme", "my-id_1", "ep_all", domain.CauseRouted)},
		{Endpoint: "ep_cron", Delivery: domain.DeliveryID(noon, "acme", "my-id_1", "ep_cron", domain.CauseRouted)},
	}, LeftOut: []domain.LeftOut{{Endpoint: "ep_off", Reason: "disabled"}}}
	if !reflect.DeepEqual(routed, wantRouted) {
		t.Errorf("routed %+v, want %+v", routed, wantRouted)
	}
	wantReceipt := &Receipt{ID: "my-id_1", Event: "cron.completed", Timestamp: at.UTC(), Position: records[1].Position,
		Deliveries: wantRouted.Matches}
	if !reflect.DeepEqual(r, wantReceipt) {
		t.Errorf("receipt %+v, want %+v", r, wantReceipt)
	}
	if n := f.counted("accepted"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestPostWithoutMatchOrTimestamp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.must(post("", completed))
	if !strings.HasPrefix(r.ID, domain.PrefixEvent) || len(r.ID) != 30 || len(r.Deliveries) != 0 {
		t.Errorf("%+v", r)
	}
	if !r.Timestamp.Equal(noon.Truncate(time.Microsecond)) {
		t.Errorf("timestamp %v", r.Timestamp)
	}
	if again := f.must(post("", completed)); again.ID == r.ID || again.Duplicate {
		t.Error("two posts without an id are one event")
	}
}

func TestSemantics_SameContentIsADuplicateOtherContentAConflict(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.endpoint("ep_all", false, "*")
	f.dir.register("cron.other", 1, "")
	at, later := noon, noon.Add(time.Nanosecond)
	first := post("id-1", completed)
	first.Timestamp, first.Subject, first.Source = &at, "user-1", "a"
	want := f.must(first)
	want.Duplicate = true

	f.dir.endpoint("ep_later", false, "*") // the first result stays what it was
	head := f.store.Head()
	same := first
	zoned := at.In(time.FixedZone("", 7200))
	same.Timestamp, same.Source = &zoned, "b" // the source is no content
	if got := f.must(same); !reflect.DeepEqual(got, want) {
		t.Errorf("duplicate %+v, want %+v", got, want)
	}
	if f.store.Head() != head {
		t.Error("a duplicate was appended")
	}
	for name, change := range map[string]func(*Post){
		"event":        func(p *Post) { p.Event = "cron.other" },
		"subject":      func(p *Post) { p.Subject = "user-2" },
		"no subject":   func(p *Post) { p.Subject = "" },
		"timestamp":    func(p *Post) { p.Timestamp = &later },
		"no timestamp": func(p *Post) { p.Timestamp = nil },
		"data":         func(p *Post) { p.Data = []byte(`{"jobId":"job_1", "runId":"run_1"}`) },
	} {
		other := first
		change(&other)
		refusal := f.refused(other, domain.KindConflict, "id_conflict")
		if what := strings.TrimPrefix(name, "no "); !strings.Contains(refusal.Detail, what) {
			t.Errorf("%s: %s", name, refusal.Detail)
		}
	}
	if n := f.counted("id_conflict"); n != 6 {
		t.Errorf("counted %v conflicts", n)
	}

	given := post("id-2", completed)
	f.must(given)
	given.Timestamp = &at
	f.refused(given, domain.KindConflict, "id_conflict")
}

func TestSemantics_ARepeatOfAnErasedEventIsADuplicateAndErased(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := post("id-1", completed)
	p.Subject = "user-1"
	want := f.must(p)
	if _, err := f.bodies.Event(t.Context(), "acme", "id-1"); err != nil {
		t.Fatal(err)
	}
	key := f.records("id-1")[0].Fact.(*domain.EventReceived).Content.KeyID
	if err := f.vault.Destroy(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	want.Duplicate, want.Erased = true, true
	if got := f.must(p); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, err := f.bodies.Event(t.Context(), "acme", "id-1"); !errors.Is(err, vault.ErrErased) {
		t.Errorf("its body: %v", err)
	}
	// The subject's next event gets a key of its own.
	p.ID = "id-2"
	if got := f.must(p); got.Duplicate {
		t.Errorf("%+v", got)
	}
	if next := f.records("id-2")[0].Fact.(*domain.EventReceived).Content.KeyID; next == key {
		t.Error("sealed under the destroyed key")
	}
}

func TestSemantics_AnIdDerivesFromTheIdempotencyKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := post("", completed)
	p.IdempotencyKey = "key-1"
	first := f.must(p)
	if again := f.must(p); again.ID != first.ID || !again.Duplicate {
		t.Errorf("%+v", again)
	}
	p.Data = []byte(`{"jobId":"job_2","runId":"run_1"}`)
	f.refused(p, domain.KindConflict, "id_conflict")
	p.IdempotencyKey = "key-2"
	if other := f.must(p); other.ID == first.ID || other.Duplicate {
		t.Errorf("%+v", other)
	}
	seen := map[string]bool{}
	for i := range 12 { // as long as a key may be, in every place of a batch, and what could be taken for such a place
		p.IdempotencyKey, p.IdempotencyIndex = strings.Repeat("k", MaxIdempotencyKey), &i
		seen[f.must(p).ID] = true
		p.IdempotencyKey, p.IdempotencyIndex = "key-2#"+strconv.Itoa(i), nil
		seen[f.must(p).ID] = true
		p.IdempotencyKey, p.IdempotencyIndex = "key-2", &i
		seen[f.must(p).ID] = true
	}
	if len(seen) != 36 {
		t.Errorf("%d ids of 36 keys and places", len(seen))
	}
	p.ID = "own"
	if own := f.must(p); own.ID != "own" {
		t.Errorf("the producer's id is not kept: %+v", own)
	}
}

// An event that was accepted once stays accepted, whatever becomes of its type.
func TestARepeatIsADuplicateThoughItsTypeChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.register("order.paid", 1, `{"type":"object"}`)
	p := post("id-1", `{"total":1}`)
	p.Event = "order.paid"
	f.must(p)
	f.dir.register("order.paid", 2, `{"type":"object","required":["currency"]}`)
	if r := f.must(p); !r.Duplicate {
		t.Errorf("%+v", r)
	}
	changed := p
	changed.Data = []byte(`{"total":2}`)
	f.refused(changed, domain.KindInvalid, "schema_mismatch")
	p.ID = "id-2"
	f.refused(p, domain.KindInvalid, "schema_mismatch")
}

func TestSixtyFourPostersOfOneIdMakeOneEvent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.endpoint("ep_all", false, "*")
	const posters = 64
	receipts := make([]*Receipt, posters)
	var wg sync.WaitGroup
	for i := range posters {
		wg.Go(func() {
			p := post("id-1", completed)
			p.Subject = "user-1"
			r, err := f.Post(t.Context(), p)
			if err != nil {
				t.Error(err)
				return
			}
			receipts[i] = r
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	firsts := 0
	for _, r := range receipts {
		if !r.Duplicate {
			firsts++
		}
		c := *r
		c.Duplicate = receipts[0].Duplicate
		if !reflect.DeepEqual(&c, receipts[0]) {
			t.Errorf("%+v and %+v", r, receipts[0])
		}
	}
	if firsts != 1 || len(f.records("id-1")) != 2 {
		t.Errorf("%d first receipts, %d records", firsts, len(f.records("id-1")))
	}
}

func TestSemantics_AnUnknownOutcomeNamesTheIdToRepeatWith(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	lost := true
	var f *fixture
	f = newFixture(t, func(c *Config) {
		c.Store = &scripted{Store: c.Store, append: func(_ context.Context,
			through func() (ledger.Appended, error)) (ledger.Appended, error) {
			done, err := through()
			if lost { // it was written, and nobody hears of it
				cancel()
				return ledger.Appended{}, fmt.Errorf("append: %w", ledger.ErrUnknownOutcome)
			}
			return done, err
		}}
	})
	_, err := f.Post(ctx, post("", completed))
	var refusal *domain.Error
	if !errors.As(err, &refusal) || refusal.Kind != domain.KindUnavailable || refusal.Code != "outcome_unknown" {
		t.Fatalf("%v", err)
	}
	_, id, _ := strings.Cut(refusal.Fix, "the id ")
	id, _, _ = strings.Cut(id, ",")
	lost = false
	if r := f.must(post(id, completed)); !r.Duplicate || r.ID != id {
		t.Errorf("repeated with %q: %+v", id, r)
	}
}

func TestAnAppendWhoseAnswerWasLostOnceIsNoDuplicate(t *testing.T) {
	t.Parallel()
	calls := 0
	f := newFixture(t, func(c *Config) {
		c.Store = &scripted{Store: c.Store, append: func(_ context.Context,
			through func() (ledger.Appended, error)) (ledger.Appended, error) {
			done, err := through()
			if calls++; calls == 1 {
				return ledger.Appended{}, ledger.ErrUnknownOutcome
			}
			return done, err
		}}
	})
	if r := f.must(post("id-1", completed)); r.Duplicate || r.Position != f.store.Head() || calls != 2 {
		t.Errorf("%+v after %d appends", r, calls)
	}
}

// A ledger that gives no answer holds nobody for ever: producers are told with what id to repeat.
func TestALedgerWithoutAnAnswerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *Config) {
		c.Within = 10 * time.Millisecond
		c.Store = &scripted{Store: c.Store, append: func(ctx context.Context,
			_ func() (ledger.Appended, error)) (ledger.Appended, error) {
			<-ctx.Done()
			return ledger.Appended{}, ledger.ErrUnknownOutcome
		}}
	})
	f.refused(post("id-1", completed), domain.KindUnavailable, "outcome_unknown")
	for _, r := range f.PostBatch(t.Context(), []Post{post("id-2", completed), post("id-3", completed)}) {
		f.refusal(f.store.Head(), r.Receipt, r.Err, domain.KindUnavailable, "outcome_unknown")
	}
}

func TestAppendErrorsAreRefusals(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]domain.Error{
		ledger.ErrTooLarge:    {Kind: domain.KindTooLarge, Code: "event_too_large"},
		ledger.ErrUnavailable: {Kind: domain.KindUnavailable, Code: "ledger_unavailable"},
		ledger.ErrClosed:      {Kind: domain.KindUnavailable, Code: "outcome_unknown"},
	} {
		f := newFixture(t, func(c *Config) {
			c.Store = &scripted{Store: c.Store, append: func(context.Context,
				func() (ledger.Appended, error)) (ledger.Appended, error) {
				return ledger.Appended{}, fmt.Errorf("append: %w", err)
			}}
		})
		f.refused(post("id-1", completed), want.Kind, want.Code)
	}
}

func TestSemantics_NoRoomRefusesBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	full := true
	f := newFixture(t, func(c *Config) {
		c.Room = func() error {
			if full {
				return domain.Refuse(domain.KindNoRoom, "no_room", "the disk is nearly full", "make room")
			}
			return nil
		}
	})
	p := post("id-1", completed)
	p.Subject = "user-1"
	f.refused(p, domain.KindNoRoom, "no_room")
	full = false
	if r := f.must(p); r.Duplicate {
		t.Errorf("%+v", r)
	}
}

// A key that is destroyed between its look-up and its use costs the post nothing.
func TestAKeyDestroyedMeanwhileIsReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(c *Config) { c.Vault = &destroyer{Vault: c.Vault} })
	p := post("id-1", completed)
	p.Subject = "user-1"
	if r := f.must(p); r.Duplicate {
		t.Errorf("%+v", r)
	}
	if _, err := f.bodies.Event(t.Context(), "acme", "id-1"); err != nil {
		t.Error(err)
	}
}

type destroyer struct {
	Vault
	once sync.Once
}

func (d *destroyer) DataKey(ctx context.Context, s vault.Scope) (string, error) {
	id, err := d.Vault.DataKey(ctx, s)
	d.once.Do(func() { err = errors.Join(err, d.Vault.(*vault.Vault).Destroy(ctx, id)) })
	return id, err
}

func TestPostBatch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.dir.endpoint("ep_all", false, "*")
	other := post("b", `{"jobId":"job_2","runId":"run_1"}`)
	unknown := post("c", completed)
	unknown.Event = "no.such"
	results := f.PostBatch(t.Context(), []Post{post("a", completed), post("b", completed), unknown, post("a", completed),
		other, post("", completed), post("", completed), post("a", completed)})
	var got []string
	for i, r := range results {
		switch {
		case r.Err != nil:
			got = append(got, domain.Code(r.Err))
		case r.Receipt.Duplicate:
			got = append(got, "duplicate "+r.Receipt.ID)
		case i == 5 || i == 6:
			got = append(got, "new")
		default:
			got = append(got, r.Receipt.ID)
		}
	}
	want := []string{"a", "b", "unknown_event_type", "duplicate a", "id_conflict", "new", "new", "duplicate a"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if results[5].Receipt.ID == results[6].Receipt.ID {
		t.Error("two posts without id are one event")
	}
	if got := f.PostBatch(t.Context(), nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestPostBatchTakesAThousandAndNotMore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	posts := make([]Post, 0, MaxBatch+1)
	for _, id := range ids(MaxBatch + 1) {
		posts = append(posts, post(id, completed))
	}
	head := f.store.Head()
	for _, r := range f.PostBatch(t.Context(), posts) {
		f.refusal(head, r.Receipt, r.Err, domain.KindTooLarge, "batch_too_large")
	}
	for i, r := range f.PostBatch(t.Context(), posts[:MaxBatch]) {
		if r.Err != nil || r.Receipt.ID != posts[i].ID || r.Receipt.Duplicate {
			t.Fatalf("result %d: %+v, %v", i, r.Receipt, r.Err)
		}
	}
}
