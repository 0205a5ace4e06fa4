package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
)

func newReconcileGet(a *app, r *remote) *cobra.Command {
	show := ""
	c := &cobra.Command{Use: "get ID", Short: "Show a reconciliation, with its report computed again",
		Long: `Show a reconciliation as it was kept, with its whole report, computed again at its record. The report of one
that was made with a file needs the file again: the command that shows it is printed.`,
		Example: "  hookledger reconcile get rcn_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C --show findings", Args: args("ID"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.reconciled(cmd.Context(), r, args[0], show) }}
	c.Flags().StringVar(&show, "show", "", "only "+strings.Join(reconcileParts, ", "))
	choices(c, "show", reconcileParts...)
	return c
}

// fileNeeded is the code of a report that can't be computed without the file that it was made with.
const fileNeeded = "file_needed"

// reconciled shows a run, and as much of its report as can be had.
func (a *app) reconciled(ctx context.Context, r *remote, id, show string) error {
	if err := checkPart(show); err != nil {
		return err
	}
	c, err := a.reconciler(r)
	if err != nil {
		return err
	}
	path := "/v1/reconciliations/" + url.PathEscape(id)
	var out apiclient.Item[apiclient.Reconciliation]
	err = c.Get(ctx, path, url.Values{"report": {"true"}}, &out)
	kept := apiclient.CodeOf(err)
	if kept == fileNeeded || kept == "report_changed" {
		out, err = apiclient.Fetch[apiclient.Reconciliation](ctx, c, path)
	}
	if err != nil {
		return err
	}
	switch kept {
	case fileNeeded:
		a.note("this is what was kept; the report needs the file: %s", again(&out.Value))
	case "report_changed":
		a.note("this is what was kept; content that the report was made of was erased")
	}
	return a.showReconciliation(out, show)
}

// again is the command that shows the report of a run that was made with a file.
func again(r *apiclient.Reconciliation) string {
	args := []string{"hookledger reconcile", "--id " + r.ID, "--from " + r.From.Format(time.RFC3339Nano),
		"--to " + r.To.Format(time.RFC3339Nano), "--by " + r.By}
	given := func(flag string, values ...string) {
		for _, v := range values {
			if v != "" {
				args = append(args, "--"+flag+" "+shellQuote(v))
			}
		}
	}
	given("tz", r.TZ)
	given("late-after", r.LateAfter)
	given("tolerance", r.Tolerance)
	given("event", r.EventTypes...)
	given("endpoint-id", r.Endpoints...)
	given("agent-id", r.Agents...)
	if n := r.Numbered; n != nil {
		given("numbers", fmt.Sprintf("%s:%d-%d", n.Source, n.From, n.To))
	}
	given("reason", r.Reason)
	return strings.Join(append(args, "--"+r.Against+" FILE"), " ")
}
