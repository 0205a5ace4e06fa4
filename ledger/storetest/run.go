package storetest

import (
	"testing"

	"hookledger/ledger"
)

// Harness gives the suite its stores.
type Harness struct {
	// Open gives a store, which the suite may close; the harness closes it at the test's end if it is open. Each call
	// may give another ledger, or the same one.
	Open func(t *testing.T) ledger.Store
	// Reopen closes the store and opens the same ledger anew.
	Reopen func(t *testing.T, s ledger.Store) ledger.Store
}

// Run judges a store. All cases run in parallel.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, h)
		})
	}
}

// Cases is how many there are, for who skips them.
func Cases() int { return len(cases) }

var cases = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"append and read", appendAndRead},
	{"read from a revision", readFromRevision},
	{"names that begin alike", namesBeginAlike},
	{"expected revisions", expectedRevisions},
	{"repeated append is answered as the first", repeatedAppend},
	{"repeated append after later ones and a restart", repeatedLater},
	{"part of what stands there is a duplicate too", repeatedPart},
	{"near duplicates are conflicts", nearDuplicates},
	{"ambiguous appends are settled by repeating", ambiguousAppends},
	{"cancelled before it began", cancelledAppend},
	{"one of many racers wins", racers},
	{"the same append raced by itself", sameRaced},
	{"a conflict shows what it lost to", conflictShows},
	{"contended stream", contended},
	{"appends are atomic", atomicAppends},
	{"followers see one gap-free order", followers},
	{"wait", waits},
	{"wait wakes all", waitWakesAll},
	{"head", heads},
	{"read on after a restart", restartInMidRead},
	{"reads can be left and cancelled", leavingReads},
	{"records come back unchanged", unchanged},
	{"records of unknown types pass through", unknownTypes},
	{"the caller's records stay as they are", callersRecords},
	{"too large", tooLarge},
	{"the largest legal event", largestEvent},
	{"invalid", invalid},
	{"close", closing},
	{"close waits for appends under way", closingBusy},
}
