package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"

	"hookledger/domain"
)

// recordType is how the data of one type and version of a record is written and read.
type recordType struct {
	name    string
	version int
	// encode appends the data. It is nil in the row of an older version: those are only read.
	encode func([]byte, domain.Fact) ([]byte, error)
	// decode gives the fact as this binary has it; in the row of an older version it is the upcaster.
	decode func([]byte) (domain.Fact, error)
}

// The table of all records: one row for each type, and one more for each older version of it that a ledger can hold.
var types = table(
	reflected[domain.LedgerCreated](),
	reflected[domain.TenantRegistered](),
	reflected[domain.TenantReconfigured](),
	reflected[domain.EventTypeRegistered](),
	reflected[domain.EndpointRegistered](),
	reflected[domain.EndpointReconfigured](),
	reflected[domain.EndpointDisabled](),
	reflected[domain.EndpointEnabled](),
	reflected[domain.EndpointRemoved](),
	reflected[domain.EndpointSecretRotated](),
	reflected[domain.EndpointSecretRetired](),
	reflected[domain.KeyIssued](),
	reflected[domain.KeyRevoked](),
	handwritten(writeEventReceived, readEventReceived),
	handwritten(writeEventRouted, readEventRouted),
	handwritten(writeDeliveryScheduled, readDeliveryScheduled),
	handwritten(writeAttemptStarted, readAttemptStarted),
	handwritten(writeRequestSigned, readRequestSigned),
	handwritten(writeResponseReceived, readResponseReceived),
	handwritten(writeAttemptFailed, readAttemptFailed),
	handwritten(writeAttemptInterrupted, readAttemptInterrupted),
	handwritten(writeRetryScheduled, readRetryScheduled),
	handwritten(writeDeliverySucceeded, readDeliverySucceeded),
	reflected[domain.DeliveryExhausted](),
	reflected[domain.DeliveryCancelled](),
	reflected[domain.RetryRequested](),
	reflected[domain.SourceAdded](),
	reflected[domain.SourceChanged](),
	reflected[domain.SourceRemoved](),
	reflected[domain.SourcePolled](),
	reflected[domain.ReplayRequested](),
	reflected[domain.ReplayPlanned](),
	reflected[domain.ReplayPageScheduled](),
	reflected[domain.ReplayPaused](),
	reflected[domain.ReplayResumed](),
	reflected[domain.ReplayCancelled](),
	reflected[domain.ReplayCompleted](),
	reflected[domain.ReconciliationRun](),
	reflected[domain.EventRefused](),
)

// RecordTypes names the types of records that this binary knows, in the order of the alphabet.
func RecordTypes() []string { return slices.Sorted(maps.Keys(types)) }

// versions of one type, by version; the last one is what this binary writes.
type versions map[int]*recordType

func table(rows ...recordType) map[string]versions {
	m := make(map[string]versions, len(rows))
	for i, r := range rows {
		if m[r.name] == nil {
			m[r.name] = versions{}
		}
		m[r.name][r.version] = &rows[i]
	}
	return m
}

// factOf is a pointer to T that is a fact.
type factOf[T any] interface {
	*T
	domain.Fact
}

// canonical is the encoding as the json tags of the facts say it. What is written by hand is written like this, and a
// test compares the two.
var canonical = json.JoinOptions(
	json.Deterministic(true),
	json.RejectUnknownMembers(true),
	v1.OmitEmptyWithLegacySemantics(true),
	jsontext.AllowInvalidUTF8(true),
	json.WithMarshalers(json.MarshalToFunc(func(e *jsontext.Encoder, t time.Time) error {
		if !fit(t) {
			return fmt.Errorf("the year %d has no RFC 3339", t.UTC().Year())
		}
		return e.WriteToken(jsontext.String(string(appendTime(nil, t))))
	})),
)

// reflected is the row of a type that is rare enough to be encoded by reflection.
func reflected[T any, P factOf[T]]() recordType {
	return recordType{
		name:    P(new(T)).RecordType(),
		version: P(new(T)).RecordVersion(),
		encode: func(b []byte, f domain.Fact) ([]byte, error) {
			data, err := json.Marshal(f, canonical)
			return append(b, data...), err
		},
		decode: func(data []byte) (domain.Fact, error) {
			f := P(new(T))
			return f, json.Unmarshal(data, f, canonical)
		},
	}
}

// handwritten is the row of a type that every delivery writes.
func handwritten[T any, P factOf[T]](write func(writer, P) writer, read func(*parser, P)) recordType {
	return recordType{
		name:    P(new(T)).RecordType(),
		version: P(new(T)).RecordVersion(),
		encode: func(b []byte, f domain.Fact) ([]byte, error) {
			w := write(writer{b: b}, f.(P))
			if w.unfit {
				return b, errUnfit
			}
			return w.b, nil
		},
		decode: func(data []byte) (domain.Fact, error) {
			f, p := P(new(T)), parser{b: data}
			read(&p, f)
			p.end()
			return f, p.err
		},
	}
}
