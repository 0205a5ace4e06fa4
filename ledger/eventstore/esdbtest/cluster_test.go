package esdbtest_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

// alone gives a connection string of one node of a cluster.
func alone(c *esdbtest.Cluster, i int) string { return c.Node(i).ConnectionString() }

func gossipOf(t *testing.T, node *esdbtest.Server) string {
	t.Helper()
	all, err := gossip.NewGossipClient(rawTo(t, node.Address())).Read(t.Context(), &shared.Empty{})
	must(t, err)
	var out []string
	for _, m := range all.GetMembers() {
		text := m.GetState().String()
		if !m.GetIsAlive() {
			text += " dead"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func TestGossip(t *testing.T) {
	t.Parallel()
	same(t, "a node alone", "Leader", gossipOf(t, esdbtest.Start(t)))
	c := esdbtest.StartCluster(t, 3)
	same(t, "a cluster", "Leader, Follower, Follower", gossipOf(t, c.Node(2)))
	c.KillLeader()
	same(t, "after a kill", "ShuttingDown dead, Leader, Follower", gossipOf(t, c.Node(2)))
	must(t, c.StartNode(0))
	same(t, "after its return", "Follower, Leader, Follower", gossipOf(t, c.Node(0)))
	c.HoldElections()
	c.KillLeader()
	same(t, "without a leader", "Unknown, ShuttingDown dead, Unknown", gossipOf(t, c.Node(2)))

	// A node alone answers too, for a client that is told to discover it.
	node := esdbtest.Start(t)
	mustAppend(t, clientOf(t, "esdb+discover://"+node.Address()+"?tls=false"), "s", someEvents(1)...)

	all, err := gossip.NewGossipClient(rawTo(t, c.Node(2).Address())).Read(t.Context(), &shared.Empty{})
	must(t, err)
	at := all.GetMembers()[2].GetHttpEndPoint()
	same(t, "address", c.Node(2).Address(), net.JoinHostPort(at.GetAddress(), strconv.Itoa(int(at.GetPort()))))
}

// A client that is given all nodes finds the leader; one that is at a follower is told, and goes there.
func TestNotLeader(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	anywhere := clientOf(t, c.ConnectionString())
	mustAppend(t, anywhere, "s", someEvents(1)...)

	astray := clientOf(t, alone(c, 1))
	_, err := astray.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, someEvents(1)...)
	same(t, "append at a follower", "NotLeader", answerOf(err))
	mustAppend(t, astray, "s", someEvents(1)...)
	same(t, "nothing was written by the refused one", 2, len(contentsOf(t, anywhere, "s")))

	// The trailers name the leader.
	astrayToo, err := streams.NewStreamsClient(rawTo(t, c.Node(2).Address())).Append(t.Context())
	must(t, err)
	must(t, astrayToo.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier:       &shared.StreamIdentifier{StreamName: []byte("s")},
		ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}}}}}))
	_, err = astrayToo.CloseAndRecv()
	trailers := astrayToo.Trailer()
	same(t, "code", "NotFound Leader info available", status.Code(err).String()+" "+status.Convert(err).Message())
	same(t, "exception", "not-leader", strings.Join(trailers.Get("exception"), ""))
	same(t, "leader", c.Node(0).Address(),
		net.JoinHostPort(trailers.Get("leader-endpoint-host")[0], trailers.Get("leader-endpoint-port")[0]))

	// A follower reads and subscribes, unless the client asks for the leader.
	same(t, "read at a follower", 2, len(contentsOf(t, clientOf(t, alone(c, 2)), "s")))
	ctx := metadata.AppendToOutgoingContext(t.Context(), "requires-leader", "true")
	raw := streams.NewStreamsClient(rawTo(t, c.Node(2).Address()))
	read, err := raw.Read(ctx, &streams.ReadReq{Options: &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")}}},
		CountOption: &streams.ReadReq_Options_Count{Count: 1},
		UuidOption: &streams.ReadReq_Options_UUIDOption{
			Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
	}})
	must(t, err)
	_, err = read.Recv()
	same(t, "read that requires the leader", "Leader info available", status.Convert(err).Message())
}

func TestForwarding(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3, esdbtest.WithForwarding())
	mustAppend(t, clientOf(t, alone(c, 1)), "s", someEvents(1)...)
	same(t, "written by the leader", 1, len(contentsOf(t, clientOf(t, alone(c, 0)), "s")))
	c.HoldElections()
	c.KillLeader()
	_, err := clientOf(t, alone(c, 1)).AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, someEvents(1)...)
	same(t, "without a leader", "Unavailable/Unavailable", answerOf(err))
}

// A follower does not say not-leader about groups: it is not ready.
func TestGroupsAtFollower(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	leader := clientOf(t, c.ConnectionString())
	newGroup(t, leader, "s", "g", nil)
	for _, call := range []func(*esdb.Client) error{
		func(f *esdb.Client) error { return makeGroup(t, f, "s", "g2", nil) },
		func(f *esdb.Client) error { return second(tryJoin(t, f, "s", "g", 1)) },
		func(f *esdb.Client) error {
			return second(f.GetPersistentSubscriptionInfo(t.Context(), "s", "g", esdb.GetPersistentSubscriptionOptions{}))
		},
		func(f *esdb.Client) error {
			return f.DeletePersistentSubscription(t.Context(), "s", "g", esdb.DeletePersistentSubscriptionOptions{})
		},
	} {
		err := call(clientOf(t, alone(c, 1)))
		same(t, "at a follower", "Unavailable/Unavailable", answerOf(err))
		if !strings.Contains(err.Error(), "Server Is Not Ready") {
			t.Errorf("it says %v", err)
		}
	}
	same(t, "the group is there", "Live", infoOf(t, leader, "s", "g").Status)
}

// eventually repeats what a client has to repeat while its cluster changes: the same append, until it is answered.
func eventually(t *testing.T, c *esdb.Client, stream string, events ...esdb.EventData) (failures []string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := c.AppendToStream(ctx, stream, esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, events...)
		cancel()
		if err == nil {
			return failures
		}
		failures = append(failures, answerOf(err))
		var dead *esdb.Error
		if errors.As(err, &dead) && dead.Code() == esdb.ErrorCodeConnectionClosed {
			break
		}
	}
	t.Fatalf("never answered: %v", failures[max(0, len(failures)-10):])
	return nil
}

func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	client := clientOf(t, c.ConnectionString())
	newGroup(t, client, "s", "g", nil)
	mustAppend(t, client, "s", someEvents(1)...)
	consumer := join(t, client, "s", "g", 1)
	consumer.take(1)

	same(t, "killed", 0, c.KillLeader())
	same(t, "leads", 1, c.Leader())
	same(t, "the consumer's connection broke", "plain/Unavailable", answerOf(consumer.next().SubscriptionDropped.Error))
	failures := eventually(t, client, "t", someEvents(1)...)
	if len(failures) == 0 || failures[0] != "Unavailable/Unavailable" {
		t.Errorf("the first answers after the kill: %v", failures)
	}
	same(t, "what was written is there", 1, len(contentsOf(t, client, "s")))
	same(t, "the group came along", "0/0", told(join(t, client, "s", "g", 1).take(1)))

	// Without a majority nobody leads; with one, somebody does.
	c.StopNode(1)
	same(t, "one of three", -1, c.Leader())
	_, err := clientOf(t, alone(c, 2)).AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{}, someEvents(1)...)
	same(t, "append without a leader", "Unavailable/Unavailable", answerOf(err))
	must(t, c.StartNode(0))
	same(t, "two of three", 0, c.Leader())
	eventually(t, client, "u", someEvents(1)...)
}

func TestLeaderFrozen(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	client := clientOf(t, c.ConnectionString())
	mustAppend(t, client, "s", someEvents(1)...)
	sub, err := client.SubscribeToStream(t.Context(), "s", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	must(t, err)
	defer sub.Close()
	for sub.Recv().CaughtUp == nil {
	}

	// The connection stays up, and nobody answers.
	same(t, "frozen", 0, c.FreezeLeader())
	same(t, "leads", 1, c.Leader())
	deadline := 100 * time.Millisecond
	_, err = client.AppendToStream(t.Context(), "s", esdb.AppendToStreamOptions{Deadline: &deadline}, someEvents(1)...)
	same(t, "append at the frozen leader", "DeadlineExceeded/DeadlineExceeded", answerOf(err))
	other := clientOf(t, alone(c, 1))
	mustAppend(t, other, "s", someEvents(1)...)
	same(t, "nothing was written by the one without an answer", 2, len(contentsOf(t, other, "s")))

	// When it starts again its connections break, and it follows.
	must(t, c.StartNode(0))
	if e := sub.Recv(); e.SubscriptionDropped == nil {
		t.Errorf("the frozen leader's subscription got %+v", e)
	}
	same(t, "gossip", "Follower, Leader, Follower", gossipOf(t, c.Node(0)))
	eventually(t, client, "t", someEvents(1)...)
}

func TestLeaderChanges(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	client := clientOf(t, c.ConnectionString())
	newGroup(t, client, "s", "g", nil)
	consumer := join(t, client, "s", "g", 1)
	twin := someEvents(1)
	mustAppend(t, client, "s", twin...)

	same(t, "leads", 1, c.ChangeLeader())
	same(t, "the consumer is dropped", "plain/Canceled", answerOf(consumer.dropped()))
	failures := eventually(t, client, "t", someEvents(1)...)
	same(t, "the old leader says so", "NotLeader", strings.Join(failures, " "))

	// The ids of appends with Any are in the leader's memory only: the new one does not know them.
	mustAppend(t, client, "s", twin...)
	same(t, "appended twice", 2, len(contentsOf(t, client, "s")))
}

// dropped is why the consumer was dropped, behind what still came.
func (m *eater) dropped() error {
	m.t.Helper()
	for {
		if e := m.next(); e.SubscriptionDropped != nil {
			return e.SubscriptionDropped.Error
		}
	}
}

func TestElectionsCanWait(t *testing.T) {
	t.Parallel()
	c := esdbtest.StartCluster(t, 3)
	c.HoldElections()
	c.KillLeader()
	same(t, "no leader", -1, c.Leader())
	same(t, "elected", 1, c.Elect())
	mustAppend(t, clientOf(t, c.ConnectionString()), "s", someEvents(1)...)
}
