package eventstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"hookledger/domain"
)

// errTampered: what was on the ledger is not there any more, or something else is.
var errTampered = errors.New("the ledger was changed behind its back")

func tampered(detail, fix string) error {
	return fmt.Errorf("%w: %w", errTampered, domain.Refuse(domain.KindUnavailable, "ledger_tampered", detail, fix))
}

const restore = "stop whoever does this, and restore the database from a backup"

// ours says whether the stream is one of a ledger.
func ours(name string) bool {
	s := domain.Stream(name)
	return s.Valid() && categories[s.Category()]
}

var categories = func() map[string]bool {
	m := map[string]bool{}
	for _, c := range domain.Categories() {
		m[c] = true
	}
	return m
}()

// prefixes are what our streams begin with, and the metadata streams of ours.
var prefixes = func() (out []string) {
	for _, c := range domain.Categories() {
		out = append(out, c+"-", "$$"+c+"-")
	}
	return out
}()

// retention are the keys of a stream's metadata that hide its events, and have a scavenge delete them.
var retention = []string{"$maxAge", "$maxCount", "$tb"}

// hiding names what a stream's metadata says that takes records out of our sight; "" if nothing does.
func hiding(data []byte) string {
	var keys map[string]json.RawMessage
	if json.Unmarshal(data, &keys) != nil {
		return ""
	}
	for _, k := range retention {
		if v, there := keys[k]; there && string(v) != "null" {
			return k + " " + string(v)
		}
	}
	return ""
}

// metadataOf gives the stream whose metadata the event is, if it is one of ours.
func metadataOf(e *esdb.RecordedEvent) (string, bool) {
	name, is := strings.CutPrefix(e.StreamID, "$$")
	return name, is && ours(name)
}

// continuity checks that each stream's revisions follow on each other. It remembers so many streams; of one that it
// does not know the first record says nothing, except while it has seen everything from the ledger's start.
type continuity struct {
	streams *simplelru.LRU[domain.Stream, domain.Revision]
	whole   bool
}

func newContinuity(size int, fromStart bool) *continuity {
	c := &continuity{whole: fromStart}
	c.streams, _ = simplelru.NewLRU[domain.Stream, domain.Revision](size, nil) // fails only on a size of 0
	return c
}

// check takes the next record.
func (c *continuity) check(rec *domain.Record) error {
	last, known := c.streams.Get(rec.Stream)
	if !known {
		last = domain.NoStream
	}
	if (known || c.whole) && rec.Revision != last+1 {
		return tampered(fmt.Sprintf("on %s revision %d follows %d: what stood between them was deleted", rec.Stream,
			rec.Revision, last), restore)
	}
	if evicted := c.streams.Add(rec.Stream, rec.Revision); evicted {
		c.whole = false
	}
	return nil
}
