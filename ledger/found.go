package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"hookledger/domain"
)

// Found gives the ledger's id. An empty ledger is begun with LedgerCreated, whose record id is newID and becomes the
// ledger's id; now is the time that it is recorded at. Two processes that found the same ledger at once agree on one
// id. A ledger of a newer format is refused with ErrNewerFormat and not touched; one that does not begin with
// LedgerCreated is refused as well.
func Found(ctx context.Context, s Store, newID ulid.ULID, now time.Time) (string, error) {
	for {
		if id, _, err := Identify(ctx, s); id != "" || err != nil {
			return id, err
		}
		created := &domain.LedgerCreated{LedgerID: newID.String(), Format: Format}
		stamp := domain.Stamp{At: now, Base: newID, Actor: domain.System("ledger")}
		_, err := AppendKnown(ctx, s, domain.LedgerStream, domain.NoStream,
			stamp.Records(domain.LedgerStream, domain.SystemTenant, "", ulid.ULID{}, created))
		if err == nil {
			return created.LedgerID, nil
		}
		if !errors.Is(err, ErrConflict) {
			return "", fmt.Errorf("found the ledger: %w", err)
		}
	}
}

// Identify gives the ledger's id and format, and writes nothing: an empty ledger has the id "". It refuses what Found
// refuses.
func Identify(ctx context.Context, r Reader) (id string, format int, err error) {
	for rec, err := range r.ReadAll(ctx, 0) {
		if err != nil {
			return "", 0, fmt.Errorf("read the ledger's first record: %w", err)
		}
		return identity(rec)
	}
	return "", 0, nil
}

func identity(first *domain.Record) (id string, format int, err error) {
	switch f := first.Fact.(type) {
	case *domain.LedgerCreated:
		if f.Format > Format {
			return "", 0, fmt.Errorf("format %d, this binary knows %d: %w", f.Format, Format, ErrNewerFormat)
		}
		return f.LedgerID, f.Format, nil
	case *domain.Unknown:
		if f.Type == (*domain.LedgerCreated)(nil).RecordType() {
			return "", 0, fmt.Errorf("%s version %d: %w", f.Type, f.Version, ErrNewerFormat)
		}
	}
	return "", 0, fmt.Errorf("the ledger begins with %s, not with LedgerCreated: it is no hookledger's, or damaged",
		first.Fact.RecordType())
}
