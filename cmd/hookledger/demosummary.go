package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// demoRow is one delivery of the summary.
type demoRow struct {
	Event    string              `json:"event"`
	EventID  string              `json:"event_id"`
	Receiver string              `json:"receiver"`
	Status   string              `json:"status"`
	Attempts []apiclient.Attempt `json:"-"`
	Results  []string            `json:"attempts"` // of each attempt
	Verified bool                `json:"verified"` // the receiver checked the request that it took
	Delivery string              `json:"delivery_id"`
}

// await waits until every delivery has ended, and gives them with their attempts.
func (d *demonstration) await(ctx context.Context) ([]demoRow, error) {
	waiting, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		ended, changed := d.live.outcomes()
		open := 0
		for _, e := range d.events {
			for _, ref := range e.Deliveries {
				if ended[ref.ID] == "" {
					open++
				}
			}
		}
		if open == 0 {
			break
		}
		select {
		case <-changed:
			continue
		case <-waiting.Done():
			if ctx.Err() != nil {
				return nil, errors.New("interrupted before everything was delivered")
			}
			return nil, fmt.Errorf("%d deliveries did not end within %s", open, demoPatience)
		}
	}
	d.live.flush(now())
	return d.rows(ctx)
}

// rows asks the API what became of every delivery.
func (d *demonstration) rows(ctx context.Context) ([]demoRow, error) {
	// The list waits until the read models hold all that the live view has seen; what is read after it does too.
	_, err := apiclient.List[apiclient.Delivery](ctx, d.client, "/v1/deliveries",
		url.Values{"limit": {"1"}, "min_position": {strconv.FormatUint(d.live.last(), 10)}})
	if err != nil {
		return nil, err
	}
	var rows []demoRow
	for _, e := range d.events {
		for _, ref := range e.Deliveries {
			i := slices.IndexFunc(d.receivers, func(r *demoReceiver) bool { return r.endpoint == ref.EndpointID })
			if i < 0 {
				continue // an endpoint of the user's, in a data directory that was there before
			}
			got, err := apiclient.Fetch[apiclient.Delivery](ctx, d.client, deliveryPath(ref.ID))
			if err != nil {
				return nil, err
			}
			row := demoRow{Event: e.Event, EventID: e.ID, Receiver: d.receivers[i].name, Status: got.Value.Status,
				Delivery: ref.ID, Verified: d.receivers[i].took(e.ID)}
			for _, at := range got.Value.Attempts {
				row.Attempts = append(row.Attempts, at.Value)
				row.Results = append(row.Results, at.Value.Result())
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (r *demoReceiver) took(event string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.verified[event]
}

// summary prints every delivery.
func (d *demonstration) summary(rows []demoRow) error {
	d.a.note("")
	list := output.NewList(d.a.printer, []output.Column[demoRow]{
		column("event", func(r demoRow) string { return r.Event }),
		column("receiver", func(r demoRow) string { return r.Receiver }),
		status("status", func(r demoRow) string { return r.Status }),
		column("attempts", func(r demoRow) string { return strings.Join(r.Results, ", then ") }),
		status("verified", func(r demoRow) string { return output.YesNo(r.Verified) }),
		column("delivery_id", func(r demoRow) string { return r.Delivery }),
		detail("event_id", func(r demoRow) string { return r.EventID }),
	})
	for _, r := range rows {
		raw, err := marshal(r)
		if err != nil {
			return err
		}
		if err := list.Add(raw, r); err != nil {
			return err
		}
	}
	return list.Close()
}

// judge says whether all was delivered and verified.
func (d *demonstration) judge(rows []demoRow) error {
	undelivered, unverified, retried := 0, 0, 0
	for _, r := range rows {
		if r.Status != "succeeded" {
			undelivered++
		}
		if !r.Verified {
			unverified++
		}
		if len(r.Attempts) > 1 {
			retried++
		}
	}
	for _, r := range d.receivers {
		r.mu.Lock()
		unverified += r.invalid
		r.mu.Unlock()
	}
	switch {
	case undelivered > 0 || len(rows) == 0:
		return fmt.Errorf("%d of %d deliveries did not succeed", undelivered, len(rows))
	case unverified > 0:
		return &unverifiedError{fmt.Errorf("%d requests did not verify", unverified)}
	}
	d.a.note("\n%s",
		d.live.paint.Green(fmt.Sprintf("All %d deliveries of %d events succeeded, %d after a retry; every signature verified (%.1f s).",
			len(rows), len(d.events), retried, time.Since(d.live.start).Seconds())))
	return nil
}

// next names what to try, with what there is.
func (d *demonstration) next(rows []demoRow) {
	show := rows[0]
	for _, r := range rows {
		if len(r.Attempts) > len(show.Attempts) {
			show = r
		}
	}
	dir := d.server.DataDir
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	self := command()
	p := d.live.paint
	d.a.note(`
The server goes on. In another terminal, try:

  export HOOKLEDGER_SERVER=%s HOOKLEDGER_DATA_DIR=%s
  %s delivery get %s      %s
  %s attempt get %s       %s
  %s record list --event-id %s   %s
  %s event send --example agent.budget_alert      %s

The API is described at %s/docs. Ctrl-C ends the demo%s.
`, d.server.URL, shellWord(dir), self, show.Delivery, p.Dim("# the one that was retried"),
		self, show.Attempts[0].ID, p.Dim("# its first request, byte for byte, and the answer"),
		self, show.EventID, p.Dim("# all that the ledger holds of it"),
		self, p.Dim("# watch it arrive here"), d.server.URL,
		map[bool]string{true: " and removes its data", false: ""}[d.ours])
}

// command is how the user can call this binary.
func command() string {
	exe, err := os.Executable()
	if err != nil {
		return "hookledger"
	}
	if strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/hookledger"
	}
	if found, err := exec.LookPath("hookledger"); err == nil {
		if same, err := filepath.EvalSymlinks(found); err == nil && same == exe {
			return "hookledger"
		}
	}
	return shellWord(exe)
}

// shellWord quotes a word where a shell would take it apart.
func shellWord(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,", r)
	}) {
		return shellQuote(s)
	}
	return s
}
