package ingest

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"hookledger/domain"
)

func TestBodiesGiveWhatWasPosted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := post("id-1", completed)
	p.Subject = "user \"1\""
	f.must(p)
	rec := f.records("id-1")[0]
	received := *rec.Fact.(*domain.EventReceived)
	want := domain.EventBody{Subject: p.Subject, KeyID: received.Content.KeyID, At: noon.Truncate(time.Microsecond),
		Body: []byte(`{"id":"id-1","event":"cron.completed","timestamp":"2026-03-17T12:00:00.123456Z","data":` +
			completed + `}`)}
	received.Content = nil
	want.Received = &received
	fresh := NewBodies(f.store, f.vault, 0)
	for name, b := range map[string]*Bodies{"kept by the post": f.bodies, "read": fresh, "kept by the read": fresh} {
		got, err := b.Event(t.Context(), "acme", "id-1")
		if err != nil {
			t.Fatal(err)
		}
		if !got.At.Equal(want.At) || !got.Received.Timestamp.Equal(want.Received.Timestamp) {
			t.Errorf("%s: times %+v", name, got)
		}
		got.At = want.At
		same := *got.Received
		same.Timestamp = want.Received.Timestamp
		got.Received = &same
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, e := range [][2]string{{"acme", "id-2"}, {"other", "id-1"}} {
		if _, err := f.bodies.Event(t.Context(), e[0], e[1]); domain.Code(err) != codeEventNotFound {
			t.Errorf("%v: %v", e, err)
		}
	}
}

func TestBodiesAreBoundedByBytes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const size, most = 10_000, 100_000
	small := NewBodies(f.store, f.vault, most)
	data := fmt.Sprintf(`{"jobId":"j","runId":"r","output":%q}`, strings.Repeat("x", size))
	names := ids(30)
	for _, id := range names {
		f.must(post(id, data))
	}
	for range 2 {
		for _, id := range names {
			e, err := small.Event(t.Context(), "acme", id)
			if err != nil || e.Received.ID != id {
				t.Fatal(err)
			}
		}
	}
	var sum int64
	for _, e := range small.lru.Values() {
		sum += cost(e)
	}
	if sum != small.used || sum > most || small.lru.Len() != 9 {
		t.Errorf("%d entries of %d bytes, counted %d", small.lru.Len(), sum, small.used)
	}
	if !small.lru.Contains(bodyKey{"acme", names[29]}) || small.lru.Contains(bodyKey{"acme", names[0]}) {
		t.Error("the most recently used are not the ones that are kept")
	}
	tiny := NewBodies(f.store, f.vault, 100)
	if _, err := tiny.Event(t.Context(), "acme", names[0]); err != nil || tiny.used != 0 {
		t.Errorf("%d bytes, %v", tiny.used, err)
	}
}

func TestBodiesAreSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	small := NewBodies(f.store, f.vault, 4*(bodyOverhead+200))
	names := ids(16)
	for _, id := range names {
		p := post(id, completed)
		p.Subject = "user-" + id
		f.must(p)
	}
	doomed := f.records(names[0])[0].Fact.(*domain.EventReceived).Content.KeyID
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				for _, id := range names[1:] {
					if e, err := small.Event(t.Context(), "acme", id); err != nil || e.Received.ID != id {
						t.Error(id, err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		if err := f.vault.Destroy(t.Context(), doomed); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
}
