package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookledger/domain"
)

func started(t *testing.T, cfg serverConfig) *server {
	t.Helper()
	s, err := startServer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// contents are the files below a directory with the sums of what they hold.
func contents(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What does not fit the data directory is refused with a fix, and nothing in it has changed.
func TestRefusalsAtTheStartChangeNothing(t *testing.T) {
	t.Parallel()
	other := domain.NewSecret(base64.StdEncoding.EncodeToString(make([]byte, 32)))
	remove := func(name string) func(*testing.T, *serverConfig) {
		return func(t *testing.T, cfg *serverConfig) {
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, *serverConfig)
		says  string
	}{
		"another master key":    {func(_ *testing.T, cfg *serverConfig) { cfg.MasterKey = other }, "master key"},
		"no master key":         {remove(masterKeyFile), "master key"},
		"no ledger":             {remove(ledgerDir), "restore"},
		"a short admin key":     {func(_ *testing.T, cfg *serverConfig) { cfg.AdminKey = domain.NewSecret("short") }, "admin key"},
		"garbage for admin key": {spoilFile(adminKeyFile), adminKeyFile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := serverConfig{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"}
			if err := started(t, cfg).Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, &cfg)
			before := contents(t, cfg.DataDir)
			s, err := startServer(t.Context(), cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "closed") {
				t.Errorf("the refusal is: %v", err)
			}
			if after := contents(t, cfg.DataDir); !maps.Equal(before, after) {
				t.Error("the data directory has changed")
			}
		})
	}
}

func removeLedger(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, ledgerDir)); err != nil {
		t.Fatal(err)
	}
}

func spoilFile(name string) func(*testing.T, *serverConfig) {
	return func(t *testing.T, cfg *serverConfig) {
		if err := os.WriteFile(filepath.Join(cfg.DataDir, name), []byte("?\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A reader of records or events who stays does not hold up an orderly end: its stream ends, which no reader does here
// before the server has, and it resumes elsewhere.
func TestAnOpenStreamEndsWithTheServer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/records", "/v1/feed"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := started(t, serverConfig{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+s.AdminKey.Reveal())
			req.Header.Set("Hookledger-Tenant", domain.DefaultTenant)
			req.Header.Set("Accept", "text/event-stream")
			client := &http.Client{Transport: &http.Transport{}}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			lines := bufio.NewScanner(resp.Body)
			lines.Buffer(nil, 1<<20)
			if resp.StatusCode != http.StatusOK || !lines.Scan() {
				t.Fatalf("%s: %v", resp.Status, lines.Err())
			}
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			for lines.Scan() {
				continue
			}
			if err := errors.Join(lines.Err(), <-closed); err != nil { // a stream that is broken off was waited for
				t.Error(err)
			}
		})
	}
}

// What can't have its address says so with exit code 1, and leaves nothing behind: neither a directory nor a lock.
func TestATakenAddressLeavesNothing(t *testing.T) {
	t.Parallel()
	taken := strings.TrimPrefix(newInbox(t).url, "http://")
	dir := filepath.Join(t.TempDir(), "data")
	for _, args := range [][]string{{"serve", "--data-dir", dir}, {"receive"}} {
		code, _, errs := commandLine(t, nil, append(args, "--listen", taken)...)
		if code != exitFailure || !strings.Contains(errs, "listens on "+taken+" already\nfix:   end it") {
			t.Errorf("%s: exit code %d\n%s", args, code, errs)
		}
	}
	if there, err := exists(dir); there || err != nil {
		t.Errorf("it left a data directory: %v", err)
	}
}
