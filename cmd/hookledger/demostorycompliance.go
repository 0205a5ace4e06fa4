package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
)

// compliance answers who got an event, when, with which signature, and what they answered, and checks the signature.
func (s *story) compliance(ctx context.Context) error {
	s.headed("Two systems are told when an agent's budget is exhausted; one is down at first")
	flags := []string{"--events", "agent.budget_exhausted", "--retry-schedule", "1s,1s"}
	steady, err := s.register(ctx, "finance", 0, flags...)
	if err != nil {
		return err
	}
	shaky, err := s.register(ctx, "operations", 1, flags...)
	if err != nil {
		return err
	}
	const event = "budget-march-17"
	if _, err := s.run(ctx, exitOK, "event", "send", "--example", "agent.budget_exhausted", "--id", event); err != nil {
		return err
	}
	if err := s.settled(ctx, 2); err != nil {
		return err
	}

	s.headed("Who got this event, when, with which signature, and what did they answer?")
	if _, err := s.run(ctx, exitOK, "query", "event", event); err != nil {
		return err
	}
	var found []exchange
	if err := s.ask(ctx, exitOK, &found, "query", "event", event); err != nil {
		return err
	}
	if err := sameAsReceived(found, steady, shaky); err != nil {
		return err
	}
	s.checked("that is what the receivers got: 3 requests, their times and signatures, 1 answered with 503, 2 with 200")

	if err := s.checkSignature(ctx, found, steady); err != nil {
		return err
	}

	s.headed("Which attempts failed, and was an endpoint changed meanwhile?")
	if _, err := s.run(ctx, exitOK, "query", "attempts", "--event-id", event, "--code", "5xx", "--total"); err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, "endpoint", "history", shaky.endpoint); err != nil {
		return err
	}
	var failed []apiclient.Attempt
	if err := s.ask(ctx, exitOK, &failed, "query", "attempts", "--event-id", event, "--code", "5xx"); err != nil {
		return err
	}
	if len(failed) != 1 || failed[0].EndpointID != shaky.endpoint || failed[0].Code != 503 {
		return fmt.Errorf("%d attempts failed, and one should have", len(failed))
	}
	s.checked("one attempt failed, the first to operations")
	return nil
}

// sameAsReceived compares what the ledger says with what the receivers saw.
func sameAsReceived(found []exchange, receivers ...*storyReceiver) error {
	seen := 0
	for _, r := range receivers {
		for _, got := range r.requests() {
			seen++
			same := slices.ContainsFunc(found, func(e exchange) bool {
				if e.Attempt == nil || e.Delivery.Value.EndpointID != r.endpoint {
					return false
				}
				a := e.Attempt.Value
				return a.Signature != nil && a.Signature.ID == got.ID && a.Code == got.Status &&
					strconv.FormatInt(a.Signature.Timestamp, 10) == got.Timestamp &&
					domain.Verify(r.keys, got.ID, got.Timestamp, a.Signature.Signatures, got.Body, got.At) == nil
			})
			if !same || !got.Checked || got.Err != nil {
				return fmt.Errorf("a request to %s is not as the ledger has it: %w", r.endpoint, got.Err)
			}
		}
	}
	if seen != 3 || len(found) != seen {
		return fmt.Errorf("the ledger has %d requests, the receivers %d, and 3 should be", len(found), seen)
	}
	return nil
}

// checkSignature checks one signature of the ledger by the body that was sent, and that it does not fit another body.
func (s *story) checkSignature(ctx context.Context, found []exchange, to *storyReceiver) error {
	i := slices.IndexFunc(found, func(e exchange) bool { return e.Delivery.Value.EndpointID == to.endpoint })
	if i < 0 || found[i].Attempt == nil || found[i].Attempt.Value.Request == nil {
		return errors.New("the ledger has no attempt for the first endpoint")
	}
	a := found[i].Attempt.Value
	s.headed("Does that signature hold? The endpoint's owner has the secret, and checks the bytes that were sent")
	secret, err := s.file("finance.secret", to.secret.Reveal(), false)
	if err != nil {
		return err
	}
	body, err := s.file("sent.json", a.Request.Body, true)
	if err != nil {
		return err
	}
	verify := []string{"signature", "verify", "--secret-file", secret, "--id", a.Signature.ID,
		"--timestamp", strconv.FormatInt(a.Signature.Timestamp, 10), "--signature", a.Signature.Signatures,
		"--at", a.StartedAt.UTC().Format(time.RFC3339)}
	if _, err := s.run(ctx, exitOK, append(verify, body)...); err != nil {
		return err
	}
	changed, err := s.file("changed.json", a.Request.Body+" ", false)
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, exitUnverified, append(verify, changed)...); err != nil {
		return err
	}
	s.checked("it holds for what was sent, and not for a body with one more space")
	return nil
}
