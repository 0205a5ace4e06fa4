package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
)

// serverStatus is what status shows.
type serverStatus struct {
	Server      string                                 `json:"server"`
	Ready       bool                                   `json:"ready"`
	Because     string                                 `json:"because,omitempty"` // it is not
	Projections []apiclient.Item[apiclient.Projection] `json:"projections,omitempty"`
	hidden      bool                                   // the read models are not for this key, or there is none
}

func newStatus(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(&cobra.Command{Use: "status", Short: "Say how the server is",
		Long: "Say how the server is. The exit code is 1 if it is not ready, or not there; for this no key is needed.\n" +
			"With a platform key also how far the read models are.",
		Example: "  hookledger status --server https://hooks.example.com", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(r)
			if err != nil {
				return err
			}
			s, err := readStatus(cmd.Context(), c)
			if err != nil {
				return err
			}
			return a.printStatus(s)
		}}, r)
}

func readStatus(ctx context.Context, c *apiclient.Client) (*serverStatus, error) {
	s := &serverStatus{Server: c.Server(), Ready: true}
	err := c.Get(ctx, "/readyz", nil, nil)
	var p *apiclient.Problem
	switch {
	case err == nil:
	case errors.As(err, &p) && p.Status == http.StatusServiceUnavailable:
		s.Ready, s.Because = false, p.Detail
	default:
		return nil, err
	}
	var page apiclient.Page[apiclient.Projection]
	switch err := c.Get(ctx, "/v1/projections", nil, &page); {
	case errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden):
		s.hidden = true
	case err != nil:
		return nil, err
	}
	s.Projections = page.Data
	return s, nil
}

func (a *app) printStatus(s *serverStatus) error {
	raw, err := marshal(s)
	if err != nil {
		return err
	}
	if err := output.One(a.printer, []output.Column[*serverStatus]{
		column("server", func(s *serverStatus) string { return s.Server }),
		status("ready", func(s *serverStatus) string { return output.YesNo(s.Ready) }),
		column("because", func(s *serverStatus) string { return s.Because }),
	}, raw, s); err != nil {
		return err
	}
	if s.hidden {
		a.note("the read models are shown with a platform key only: give one by HOOKLEDGER_API_KEY to see them")
	} else if a.printer.Format == output.Table {
		a.blank()
		list := output.NewList(a.printer, projectionColumns())
		for _, p := range s.Projections {
			if err := list.Add(p.Raw, p.Value); err != nil {
				return err
			}
		}
		if err := list.Close(); err != nil {
			return err
		}
	}
	if !s.Ready {
		return errReported
	}
	return nil
}

// blank separates two tables.
func (a *app) blank() { fmt.Fprintln(a.out) }

func marshal(v any) (json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return raw, nil
}
