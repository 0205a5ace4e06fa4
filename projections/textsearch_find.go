package projections

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"hookledger/domain"
)

// MaxTextMatches bounds the events that a search gives.
const MaxTextMatches = 10_000

// FindText gives the events of a tenant that say what the text says, of those received within the span: all words of
// it, in any order; see matchOf. The answer holds what was on the ledger when it was asked for, and nothing that was
// erased by then; it waits for that as long as ctx lives. Errors are *domain.Error, and what SQLite says.
func (t *TextSearch) FindText(ctx context.Context, tenant, text string, received Span) ([]string, error) {
	match, err := matchOf(text)
	if err != nil {
		return nil, err
	}
	x, err := t.upToDate(ctx, tenant)
	if err != nil {
		return nil, err
	}
	x.using.RLock()
	defer x.using.RUnlock()
	if x.closed {
		return nil, errTextOff(tenant)
	}
	found, err := x.find(ctx, match, received, MaxTextMatches+1)
	if err != nil {
		return nil, fmt.Errorf("search the index of texts: %w", x.broken(err))
	}
	if len(found) > MaxTextMatches {
		return nil, domain.Refuse(domain.KindInvalid, "too_many_matches", fmt.Sprintf("more than %d events say this",
			MaxTextMatches), "add words, or ask for a shorter time: --received-after and --received-before")
	}
	return found, nil
}

func errTextOff(tenant string) error {
	return domain.Refuse(domain.KindInvalid, "text_search_off",
		"the tenant \""+tenant+"\" has no index of texts, and nothing else is searched for them",
		"switch it on, if its plain text may stand on this machine's disk, with: hookledger tenant update "+tenant+
			" --text-search")
}

// upToDate waits until a tenant's index holds what is on the ledger now, and nothing that is erased by now.
func (t *TextSearch) upToDate(ctx context.Context, tenant string) (*textIndex, error) {
	head, erasures := t.cfg.Store.Head(), t.cfg.Vault.Erasures()+1
	for {
		if r, ok := t.cfg.Directory.Routing(tenant); !ok || !r.Tenant.Settings.TextSearch {
			return nil, errTextOff(tenant)
		}
		t.mu.Lock()
		x, turned := t.indexes[tenant], t.turned
		purged := x != nil && x.purged >= erasures
		t.mu.Unlock()
		var at domain.Position
		if x != nil {
			s := x.progress.status("", 0, t.cfg.Now())
			if at = s.Position; s.Err != nil {
				return nil, fmt.Errorf("the index of texts stopped: %w", s.Err)
			}
		}
		if purged && at >= head {
			return x, nil
		}
		select {
		case t.hurry <- struct{}{}:
		default:
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return nil, domain.Refuse(domain.KindUnavailable, "text_index_behind",
				fmt.Sprintf("the index of texts holds the ledger up to position %d of %d", at, head),
				"repeat the request in a while; hookledger projection list says how far it is")
		}
	}
}

// Status says where each tenant's index stands.
func (t *TextSearch) Status() []ProjectionStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []ProjectionStatus
	for tenant, x := range t.indexes {
		out = append(out, x.progress.status(TextDir+"/"+tenant, t.cfg.Store.Head(), t.cfg.Now()))
	}
	slices.SortFunc(out, func(a, b ProjectionStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
