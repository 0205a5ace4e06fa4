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
		for rec, err := range s.ReadAll(ctx, 0) {
			if err != nil {
				return "", fmt.Errorf("read the ledger's first record: %w", err)
			}
			return founded(rec)
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

func founded(first *domain.Record) (string, error) {
	switch f := first.Fact.(type) {
	case *domain.LedgerCreated:
		if f.Format > Format {
			return "", fmt.Errorf("format %d, this binary knows %d: %w", f.Format, Format, ErrNewerFormat)
		}
		return f.LedgerID, nil
	case *domain.Unknown:
		if f.Type == (*domain.LedgerCreated)(nil).RecordType() {
			return "", fmt.Errorf("%s version %d: %w", f.Type, f.Version, ErrNewerFormat)
		}
	}
	return "", fmt.Errorf("the ledger begins with %s, not with LedgerCreated: it is no hookledger's, or damaged",
		first.Fact.RecordType())
}
