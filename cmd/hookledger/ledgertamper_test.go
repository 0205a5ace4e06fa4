package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// TestLedgerInfo_NoticesWhatAnOperatorDid: what docs/eventstoredb.md says about deletes, $maxCount and scavenges is so
// for a reading of the whole ledger.
func TestLedgerInfo_NoticesWhatAnOperatorDid(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "old")
	sendWithout(t, old, "http://127.0.0.1:1", 3)
	const stream = "event-default.evt_1"
	maxCount := func(ctx context.Context, c *esdb.Client) error {
		meta := esdb.StreamMetadata{}
		meta.SetMaxCount(1)
		_, err := c.SetStreamMetadata(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, meta)
		return err
	}
	remove := func(ctx context.Context, c *esdb.Client) error {
		_, err := c.DeleteStream(ctx, stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
		return err
	}
	tombstone := func(ctx context.Context, c *esdb.Client) error {
		_, err := c.TombstoneStream(ctx, stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
		return err
	}
	var scavenge func() int
	nothing := func(context.Context, *esdb.Client) error { return nil }
	write := func(ctx context.Context, c *esdb.Client) error {
		_, err := c.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
			esdb.EventData{EventType: "Other", ContentType: esdb.ContentTypeJson, Data: []byte("{}")})
		return err
	}
	for name, c := range map[string]struct {
		do       func(context.Context, *esdb.Client) error
		scavenge bool
		says     string // "": nothing is wrong
	}{
		"a scavenge alone":           {nothing, true, ""},
		"$maxCount":                  {maxCount, false, "$maxCount"},
		"$maxCount and a scavenge":   {maxCount, true, "$maxCount"},
		"a delete":                   {remove, false, stream},
		"a delete and a scavenge":    {remove, true, stream},
		"a tombstone":                {tombstone, false, "was deleted"},
		"a tombstone and a scavenge": {tombstone, true, "was deleted"},
		"somebody's event":           {write, false, "is no record of hookledger"},
		"$maxCount, a scavenge, and all as if nothing had been": {func(ctx context.Context, c *esdb.Client) error {
			if err := maxCount(ctx, c); err != nil {
				return err
			}
			scavenge()
			_, err := c.SetStreamMetadata(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}},
				esdb.StreamMetadata{})
			return err
		}, true, stream},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: each copies the same source
			node := esdbtest.Start(t)
			scavenge = node.Scavenge
			must(t, nil, "ledger", "copy", "--from", old, "--to", node.ConnectionString(), "--ledger-only")
			conf, err := esdb.ParseConnectionString(node.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			conf.Logger = esdb.NoopLogging()
			client, err := esdb.NewClient(conf)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			if err := client.Close(); err != nil {
				t.Fatal(err)
			}
			if c.scavenge {
				node.Scavenge()
			}
			code, out, errs := commandLine(t, nil, "ledger", "info", "--store", "eventstore", "--eventstore",
				node.ConnectionString())
			if (code == exitOK) != (c.says == "") || !strings.Contains(errs, c.says) {
				t.Errorf("exit code %d, it should say %q:\n%s%s", code, c.says, out, errs)
			}
			t.Log(errs)
		})
	}
}
