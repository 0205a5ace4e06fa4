package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestAFullDiskIsSaidBeforeSomebodyPosts: by status, which says what to do, and with a platform key the figures; by the
// metrics; and by readyz. The path is told to nobody.
func TestAFullDiskIsSaidBeforeSomebodyPosts(t *testing.T) {
	t.Parallel()
	s := started(t, serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0", Store: storeConfig{LowWater: 1 << 60}})
	status := func(env ...string) string {
		out, err := newWatched(), newWatched()
		args := []string{"status", "--server", s.URL, "--data-dir", t.TempDir()}
		if code := run(t.Context(), args, &app{in: strings.NewReader(""), out: out, err: err,
			environ: func() []string { return env }}); code != 0 {
			t.Errorf("status ends with %d: %s", code, err)
		}
		return out.String()
	}
	get := func(path string) string {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status, err)
		}
		return string(body)
	}
	anybody, operator := status(), status("HOOKLEDGER_API_KEY="+s.AdminKey.Reveal())
	metrics, ready := get("/metrics"), get("/readyz")
	for _, c := range []struct{ text, want string }{
		{anybody, "takes events  no, and no attempt starts; reads go on"}, {anybody, "nearly full"}, {anybody, "--low-water"},
		{operator, " MiB are free, 1099511627776 MiB must be"},
		{metrics, "\nhookledger_ledger_room 0\n"}, {metrics, "\nhookledger_ledger_disk_free_bytes "},
		{metrics, "\nhookledger_ledger_disk_low_water_bytes 1.152921504606847e+18\n"},
		{ready, `"status":"reads_only"`},
	} {
		if !strings.Contains(c.text, c.want) {
			t.Errorf("no %q in:\n%s", c.want, c.text)
		}
	}
	if strings.Contains(anybody+ready, "MiB") || strings.Contains(anybody+operator+ready+metrics, s.DataDir) {
		t.Errorf("anybody is told too much:\n%s\n%s\n%s", anybody, operator, ready)
	}
}
