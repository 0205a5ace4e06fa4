package main

import (
	"context"
	"net/url"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/domain"
)

// showDelivery prints a delivery for people: with its attempts, why the last one failed, and what can be done about it.
func (a *app) showDelivery(ctx context.Context, c *apiclient.Client, d *apiclient.Item[apiclient.Delivery],
	columns []output.Column[apiclient.Delivery]) error {
	holdEnds(ctx, c, &d.Value)
	last := lastFailed(ctx, c, &d.Value)
	if last != nil {
		columns = append(columns, detail("last_url", func(apiclient.Delivery) string {
			if last.Request == nil {
				return ""
			}
			return last.Request.URL
		}), detail("last_failure", func(apiclient.Delivery) string { return failureOf(*last) }))
	}
	if err := output.One(a.printer, columns, d.Raw, d.Value); err != nil || len(d.Value.Attempts) == 0 {
		return err
	}
	a.blank()
	list := output.NewList(a.printer, attemptColumns())
	for _, at := range d.Value.Attempts {
		if err := list.Add(at.Raw, at.Value); err != nil {
			return err
		}
	}
	if err := list.Close(); err != nil {
		return err
	}
	if last != nil && output.IsTerminal(a.err) {
		for _, s := range nextSteps(&d.Value, last.ID) {
			a.note("%s", s)
		}
	}
	return nil
}

// holdEnds asks the endpoint's health when what holds a delivery ends by itself. Where it does not say, nobody knows.
func holdEnds(ctx context.Context, c *apiclient.Client, d *apiclient.Delivery) {
	if d.Held == nil || d.Held.Reason != domain.HoldBreakerOpen && d.Held.Reason != domain.HoldSlowedDown {
		return
	}
	h, err := apiclient.Fetch[apiclient.Health](ctx, c, endpointPath(d.EndpointID)+"/health")
	if err == nil && h.Value.Hold != nil && h.Value.Hold.Reason == d.Held.Reason {
		d.Held.Until = h.Value.Hold.Until
	}
}

// lastFailed is the last attempt, whole, of a delivery that was not confirmed; nil where there is none, or it is not
// there any more.
func lastFailed(ctx context.Context, c *apiclient.Client, d *apiclient.Delivery) *apiclient.Attempt {
	if len(d.Attempts) == 0 || d.Status == string(domain.StatusSucceeded) {
		return nil
	}
	last := d.Attempts[len(d.Attempts)-1].Value
	if last.Status != "failed" && last.Status != "interrupted" {
		return nil
	}
	whole, err := apiclient.Fetch[apiclient.Attempt](ctx, c, "/v1/attempts/"+url.PathEscape(last.ID))
	if err != nil {
		return nil
	}
	return &whole.Value
}

// nextSteps are the commands that go on from a delivery whose last attempt failed.
func nextSteps(d *apiclient.Delivery, attempt string) []string {
	return []string{
		"what was sent, and what came back: hookledger attempt get " + attempt,
		"try it again, now: hookledger delivery retry " + d.ID,
		"send its event elsewhere: hookledger replay create --event-id " + d.EventID + " --to ENDPOINT",
	}
}
