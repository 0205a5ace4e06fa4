package esdbtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"hookledger/ledger/eventstore/esdbtest"
)

// TestCloseLeavesNothing runs before the parallel tests: nothing of a closed server is left, whatever its clients were
// doing.
func TestCloseLeavesNothing(t *testing.T) {
	ignored := goleak.IgnoreCurrent()
	s, err := esdbtest.New()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(s.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	features, err := serverfeatures.NewServerFeaturesClient(conn).GetSupportedMethods(t.Context(), &shared.Empty{})
	if err != nil || features.GetEventStoreServerVersion() != "23.10.8" || len(features.GetMethods()) != 33 {
		t.Errorf("%v, %v; the recorded server is 23.10.8 and lists 33 methods", features, err)
	}
	if err := errors.Join(s.Close(), s.Close(), conn.Close()); err != nil {
		t.Error(err)
	}
	if err := s.Restart(); err == nil {
		t.Error("a closed server was started again")
	}
	goleak.VerifyNone(t, ignored)
}

func TestStopKeepsTheData(t *testing.T) {
	t.Parallel()
	s := esdbtest.Start(t)
	c := connect(t, s)
	put(t, c, "a", sized(3, 1)...)
	address := s.Address()
	sub, err := c.SubscribeToStream(t.Context(), "a", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	if got := received(sub, 4); got != "e:0 e:1 e:2 caughtup" {
		t.Fatalf("got %s", got)
	}
	s.Stop()
	s.Stop() // and again: it is stopped
	if got := received(sub, 1); got != "dropped/Unavailable" {
		t.Errorf("the subscription: %s", got)
	}
	if _, err := c.ReadStream(t.Context(), "a", esdb.ReadStreamOptions{}, 1); key(err) != "grpc/Unavailable" {
		t.Errorf("a read from a stopped server: %v", err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if s.Address() != address {
		t.Errorf("it listens on %s and did on %s", s.Address(), address)
	}
	again := connect(t, s)
	put(t, again, "a", sized(1, 1)...)
	read, err := drain(again.ReadStream(t.Context(), "a", esdb.ReadStreamOptions{}, 10))
	if err != nil || revisions(read) != "0 1 2 3" {
		t.Errorf("after the restart: %s, %v", revisions(read), err)
	}
}

func TestWhatNewRefuses(t *testing.T) {
	t.Parallel()
	taken := esdbtest.Start(t)
	for _, x := range []struct {
		option esdbtest.Option
		want   string
	}{
		{esdbtest.WithAddress("nowhere"), `the address "nowhere" is not host:port`},
		{esdbtest.WithAddress(taken.Address()), "listen on " + taken.Address()},
		{esdbtest.WithPatience(0), "the patience 0s is not positive"},
	} {
		s, err := esdbtest.New(x.option)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v, want %q in it", err, x.want)
		}
	}
}

// TestHooks: what a hook says is the call's answer, and Committed comes when the events are there.
func TestHooks(t *testing.T) {
	t.Parallel()
	answers := map[string]error{
		"refused": &esdbtest.Error{Code: codes.NotFound, Message: "Leader info available", Trailers: metadata.Pairs(
			"exception", "not-leader", "leader-endpoint-host", "127.0.0.1", "leader-endpoint-port", "1")},
		"lost": &esdbtest.Error{Code: codes.Unavailable, Message: "EOF"},
	}
	s := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{
		Before: func(_ context.Context, c *esdbtest.Call) error {
			if c.Stream == "refused" {
				return answers[c.Stream]
			}
			return nil
		},
		Committed: func(_ context.Context, c *esdbtest.Call) error { return answers[c.Stream] },
		Deliver: func(_ context.Context, c *esdbtest.Call) error {
			if c.Stream == "silent" {
				return esdbtest.ErrWithhold
			}
			return nil
		},
	}))
	for stream, want := range map[string]string{"refused": "NotLeader", "lost": "Unavailable"} {
		c := connect(t, s)
		_, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}},
			events([]string{stream})...)
		if key(err) != want {
			t.Errorf("%s: got %v", stream, err)
		}
	}
	c := connect(t, s)
	read, err := drain(c.ReadAll(t.Context(), esdb.ReadAllOptions{}, 10))
	if got := names(read, err); got != "$$$scavenges:0 lost:0" {
		t.Errorf("written is %s", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silent, err := c.SubscribeToStream(ctx, "silent", esdb.SubscribeToStreamOptions{From: esdb.End{}})
	if err != nil {
		t.Fatal(err)
	}
	loud, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: esdb.End{}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "silent", sized(100, 1)...)
	if got := received(loud, 101); !strings.HasPrefix(got, "caughtup e:0") {
		t.Errorf("got %s", got)
	}
	cancel()
	if got := received(silent, 1); got != "dropped/Canceled" {
		t.Errorf("a silent subscription sent %s", got)
	}
}
