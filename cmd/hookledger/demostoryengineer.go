package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/receiver"
)

// engineerEvents is how many events there are before anybody registers the new endpoint.
const engineerEvents = 12

// engineer brings the past into an endpoint that was registered after it.
func (s *story) engineer(ctx context.Context) error {
	s.headed("A service receives every event")
	old, err := s.register(ctx, "first", 0, "--events", "*")
	if err != nil {
		return err
	}
	var lines strings.Builder
	for n := range engineerEvents {
		fmt.Fprintf(&lines, `{"id":"step-%02d","event":"agent.status_changed","data":{"agentId":"atlas-%d",`+
			`"from":"offline","to":"online"}}`+"\n", n+1, n+1)
	}
	events, err := s.file("events.ndjson", lines.String(), false)
	if err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, "event", "send", events); err != nil {
		return err
	}
	if err := s.settled(ctx, engineerEvents); err != nil {
		return err
	}
	s.checked("the first service got %d events", len(old.requests()))

	s.headed("Later a second service is registered; it should have what came before it, too")
	fresh, err := s.register(ctx, "second", 0, "--events", "agent.*")
	if err != nil {
		return err
	}
	s.headed("A dry run says what a replay comes to, and does nothing")
	selected := []string{"replay", "create", "--created-after", s.live.start.UTC().Format(time.RFC3339),
		"--event", "agent.*", "--to", fresh.endpoint, "--reason", "the second service begins with all of it"}
	if _, err := s.run(ctx, exitOK, append(selected, "--dry-run")...); err != nil {
		return err
	}
	var plan apiclient.Replay
	if err := s.ask(ctx, exitOK, &plan, append(selected, "--dry-run")...); err != nil {
		return err
	}
	if plan.Planned != engineerEvents || len(fresh.requests()) != 0 {
		return fmt.Errorf("the dry run planned %d of %d events, and %d were sent", plan.Planned, engineerEvents,
			len(fresh.requests()))
	}
	s.checked("%d deliveries are planned, and nothing was sent", plan.Planned)

	s.headed("That plan is run, under an id of its own, and watched")
	const id = "rpl_story"
	create := append(selected, "--as-of", plan.AsOf, "--digest", plan.Digest, "--id", id) //nolint:gocritic // another
	if _, err := s.run(ctx, exitOK, create...); err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, "replay", "watch", id); err != nil {
		return err
	}
	if err := replayedOnce(old.requests(), fresh.requests()); err != nil {
		return err
	}
	s.checked("the second service got each event once: its webhook-id and its bytes as they were, webhook-replay set,\n" +
		"            and the signature verified with the new endpoint's own secret")

	s.headed("The same command again is the same replay: nothing is sent twice")
	if _, err := s.run(ctx, exitOK, create...); err != nil {
		return err
	}
	return s.engineerGoesOn(ctx, fresh)
}

// engineerGoesOn sends one more event, behind which nothing that a repeated replay had scheduled could hide.
func (s *story) engineerGoesOn(ctx context.Context, fresh *storyReceiver) error {
	s.headed("And new events come by themselves")
	_, err := s.run(ctx, exitOK, "event", "send", "--example", "agent.status_changed", "--id", "step-live")
	if err != nil {
		return err
	}
	if err := s.settled(ctx, 2*engineerEvents+2); err != nil {
		return err
	}
	if _, err := s.run(ctx, exitOK, "query", "deliveries", "--endpoint-id", fresh.endpoint, "--trigger", "replay",
		"--total", "--limit", "3"); err != nil {
		return err
	}
	got := fresh.requests()
	if last := got[len(got)-1]; len(got) != engineerEvents+1 || last.ID != "step-live" || last.Replay || last.Err != nil {
		return fmt.Errorf("the second service got %d events, the last of them %s", len(got), last.ID)
	}
	s.checked("%d replayed, 1 live, none twice", engineerEvents)
	return nil
}

// replayedOnce checks that the second receiver got what the first did, each once, marked, and signed with its own key.
func replayedOnce(first, second []receiver.Request) error {
	bodies := map[string][]byte{}
	for _, r := range first {
		bodies[r.ID] = r.Body
	}
	if len(bodies) != engineerEvents || len(second) != engineerEvents {
		return fmt.Errorf("%d events were sent, and %d replayed, of %d", len(bodies), len(second), engineerEvents)
	}
	for _, r := range second {
		body, ours := bodies[r.ID]
		switch {
		case !ours:
			return fmt.Errorf("%s was replayed twice, or never sent before", r.ID)
		case !bytes.Equal(body, r.Body):
			return fmt.Errorf("the bytes of %s changed", r.ID)
		case !r.Replay || !r.Checked || r.Err != nil:
			return fmt.Errorf("the replay of %s is not marked, or does not verify: %w", r.ID, r.Err)
		}
		delete(bodies, r.ID)
	}
	return nil
}
