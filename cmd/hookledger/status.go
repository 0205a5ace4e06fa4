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
	Takes       bool                                   `json:"takes_events"`
	Disk        string                                 `json:"disk,omitempty"`
	Space       *apiclient.Space                       `json:"disk_space,omitempty"`
	FollowUps   string                                 `json:"follow_ups,omitempty"`
	Projections []apiclient.Item[apiclient.Projection] `json:"projections,omitempty"`
	hidden      bool                                   // the read models are not for this key, or there is none
}

func newStatus(a *app) *cobra.Command {
	r := &remote{}
	return withRemote(&cobra.Command{Use: "status", Short: "Say how the server is",
		Long: "Say how the server is. The exit code is 1 if it is not ready, or not there; for this no key is needed. A\n" +
			"server whose disk is nearly full takes no event and answers all else: it is ready, and status says what to do.\n" +
			"With a platform key also how far the read models are, and what the disk has free.",
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
	var health apiclient.Readiness
	err := c.Get(ctx, "/readyz", nil, &health)
	var p *apiclient.Problem
	switch {
	case err == nil:
		s.Takes, s.Disk, s.FollowUps = health.Status == "ok", health.Disk, health.FollowUps
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
	if !s.hidden {
		return s, readSpace(ctx, c, s)
	}
	return s, nil
}

// readSpace asks for what the disk has free, which servers of before don't say.
func readSpace(ctx context.Context, c *apiclient.Client, s *serverStatus) error {
	var n apiclient.Node
	var p *apiclient.Problem
	err := c.Get(ctx, "/v1/node", nil, &n)
	if errors.As(err, &p) && p.Status == http.StatusNotFound {
		return nil
	}
	s.Space = n.Space
	return err
}

// disk says what the disk has free, and what to do where that is too little.
func (s *serverStatus) disk() string {
	says := s.Disk
	if s.Space != nil {
		const mib = 1 << 20
		says += fmt.Sprintf("; %d MiB are free, %d MiB must be", s.Space.Free/mib, s.Space.LowWater/mib)
	}
	if s.Ready && !s.Takes {
		says += ". Free some disk space, or start serve with a lower --low-water: it goes on by itself once there is room"
	}
	return says
}

// takes says whether events are taken; nothing where nobody knows.
func (s *serverStatus) takes() string {
	switch {
	case !s.Ready:
		return ""
	case s.Takes:
		return output.YesNo(true)
	}
	return "no, and no attempt starts; reads go on"
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
		column("takes_events", (*serverStatus).takes),
		column("disk", (*serverStatus).disk),
		column("follow_ups", func(s *serverStatus) string { return s.FollowUps }),
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
