package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestARecordListThatIsCutFails: who copies the ledger with it is told, in whatever form it is written, that there is
// more; the cut may stand between two records.
func TestARecordListThatIsCutFails(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = io.WriteString(w, `{"record_id":"01M8C3K49ZJE52RT8BJS9Q32PG","type":"EventReceived","position":1}`+"\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	env := []string{"HOOKLEDGER_SERVER=" + s.URL, "HOOKLEDGER_API_KEY=hl_canary"}
	for _, form := range []string{"table", "json", "ndjson"} {
		code, _, errs := commandLine(t, env, "record", "list", "--limit", "0", "-o", form)
		if code != exitFailure || !strings.Contains(errs, "error: ") {
			t.Errorf("-o %s: exit code %d: %s", form, code, errs)
		}
	}
}
