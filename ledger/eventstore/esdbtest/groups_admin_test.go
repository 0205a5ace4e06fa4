package esdbtest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"hookledger/ledger/eventstore/esdbtest"
)

// What the recorded server answered to whoever manages groups.
func TestGroupAdministration(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	create := func(group string, change func(*tuning)) error {
		return makeGroup(t, c, "s", group, change)
	}
	toAll := func() error {
		return c.CreatePersistentSubscriptionToAll(t.Context(), "g",
			esdb.PersistentAllSubscriptionOptions{StartFrom: esdb.Start{}, Settings: groupSettings(nil), Filter: prefixed("s")})
	}
	const missing = "ResourceNotFound/NotFound"
	for _, x := range []struct {
		what, want, text string
		err              error
	}{
		{"create on a missing stream", "ok", "", create("g", nil)},
		{"create twice", "ResourceAlreadyExists/AlreadyExists", "Subscription group g on stream s exists.", create("g", nil)},
		{"a second group", "ok", "", create("g2", nil)},
		{"to $all", "ok", "", toAll()},
		{"to $all twice", "ResourceAlreadyExists/AlreadyExists", "Subscription group g on stream $all exists.", toAll()},
		{"batches as large as the buffer", "Unknown/Internal",
			"Subscription group bad on stream s failed: 'Specified argument was out of the range of valid values. " +
				"(Parameter 'ReadBatchSize may not be greater than or equal to BufferSize')'",
			create("bad", func(s *tuning) { s.ReadBatchSize, s.HistoryBufferSize = 20, 20 })},
		{"a minimum above the maximum", "ok", "", create("bad2",
			func(s *tuning) { s.CheckpointLowerBound, s.CheckpointUpperBound = 100, 10 })},
		{"colons in the name", "ok", "", create("a::b", nil)},
		{"no name", "ok", "", create("", nil)},
		{"$all as a stream", "Unknown/Unknown", "Envelope callback expected either CreatePersistentSubscriptionToAllCompleted " +
			"or NotHandled, received CreatePersistentSubscriptionToStreamCompleted instead", makeGroup(t, c, "$all", "x", nil)},
		{"far beyond the end of $all", "Unknown/Internal",
			"Subscription group far on stream $all failed: 'Invalid Start From " +
				"position: commit position must be less than or equal to the last commit position in the transaction file.'",
			c.CreatePersistentSubscriptionToAll(t.Context(), "far", esdb.PersistentAllSubscriptionOptions{
				StartFrom: esdb.Position{Commit: 1 << 50, Prepare: 1 << 50}, Settings: groupSettings(nil)})},
		{"delete a missing one", missing, "Subscription group none on stream s does not exist.",
			c.DeletePersistentSubscription(t.Context(), "s", "none", esdb.DeletePersistentSubscriptionOptions{})},
		{"replay of a missing one", missing, "Subscription group none on stream s does not exist.",
			c.ReplayParkedMessages(t.Context(), "s", "none", esdb.ReplayParkedMessagesOptions{})},
		{"update a missing one", missing, "Subscription group none on stream s does not exist.",
			c.UpdatePersistentSubscription(t.Context(), "s", "none",
				esdb.PersistentStreamSubscriptionOptions{Settings: groupSettings(nil), StartFrom: esdb.Start{}})},
		{"info of a missing one", missing, "Subscription group none on stream $all does not exist.", second(
			c.GetPersistentSubscriptionInfoToAll(t.Context(), "none", esdb.GetPersistentSubscriptionOptions{}))},
		{"connect to a missing one", missing, "Subscription group none on stream s does not exist.",
			second(tryJoin(t, c, "s", "none", 10))},
		{"list of a stream without", missing, "Subscription group  on stream none does not exist.", second(
			c.ListPersistentSubscriptionsForStream(t.Context(), "none", esdb.ListPersistentSubscriptionsOptions{}))},
		{"delete", "ok", "",
			c.DeletePersistentSubscription(t.Context(), "s", "g2", esdb.DeletePersistentSubscriptionOptions{})},
		{"delete to $all", "ok", "",
			c.DeletePersistentSubscriptionToAll(t.Context(), "g", esdb.DeletePersistentSubscriptionOptions{})},
	} {
		same(t, x.what, x.want, answerOf(x.err))
		var g interface{ GRPCStatus() *status.Status }
		if errors.As(x.err, &g) {
			same(t, x.what, x.text, g.GRPCStatus().Message())
		}
	}
	all, err := c.ListPersistentSubscriptionsForStream(t.Context(), "s", esdb.ListPersistentSubscriptionsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range all {
		names = append(names, g.GroupName)
	}
	slices.Sort(names)
	same(t, "the stream's groups", ", a::b, bad2, g", strings.Join(names, ", "))
	i := infoOf(t, c, "s", "g")
	same(t, "status", "Live", i.Status)
	i.Settings.StartFrom = nil
	want := esdb.SubscriptionSettingsDefault()
	want.StartFrom = nil
	same(t, "settings", want, *i.Settings)
}

func second[T any](_ T, err error) error { return err }

func TestGroupTrailers(t *testing.T) {
	t.Parallel()
	server := esdbtest.Start(t)
	c := clientOf(t, server.ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.MaxSubscriberCount = 1 })
	raw := persistent.NewPersistentSubscriptionsClient(rawTo(t, server.Address()))
	read := func(group string) (string, metadata.MD, error) {
		r, err := raw.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: &persistent.ReadReq_Options{
			GroupName: group, BufferSize: 10,
			StreamOption: &persistent.ReadReq_Options_StreamIdentifier{
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")}},
			UuidOption: &persistent.ReadReq_Options_UUIDOption{
				Content: &persistent.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
		}}}); err != nil {
			t.Fatal(err)
		}
		m, err := r.Recv()
		return m.GetSubscriptionConfirmation().GetSubscriptionId(), r.Trailer(), err
	}
	id, _, err := read("g")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "confirmation", "s::g", id)
	_, full, err := read("g")
	same(t, "one too many", "Maximum subscriptions reached for subscription group g on stream s.",
		status.Convert(err).Message())
	same(t, "its code", "FailedPrecondition", status.Code(err).String())
	_, missing, _ := read("none")
	var exists metadata.MD
	_, err = raw.Create(t.Context(), &persistent.CreateReq{Options: &persistent.CreateReq_Options{GroupName: "g",
		StreamOption: &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("s")}}},
		Settings: &persistent.CreateReq_Settings{ReadBatchSize: 1, HistoryBufferSize: 2, ConsumerStrategy: "RoundRobin"},
	}}, grpc.Trailer(&exists))
	same(t, "created twice", "AlreadyExists", status.Code(err).String())
	for _, x := range []struct {
		exception, group string
		md               metadata.MD
	}{
		{"maximum-subscribers-reached", "g", full},
		{"persistent-subscription-does-not-exist", "none", missing},
		{"persistent-subscription-exists", "g", exists},
	} {
		same(t, "exception", x.exception, strings.Join(x.md.Get("exception"), ","))
		same(t, "stream", "s", strings.Join(x.md.Get("stream-name"), ","))
		same(t, "group", x.group, strings.Join(x.md.Get("group-name"), ","))
	}
}

func TestMaxSubscribers(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.MaxSubscriberCount = 1 })
	mustAppend(t, c, "s", someEvents(3)...)
	a := join(t, c, "s", "g", 10)
	same(t, "the first gets", "0/0 1/0 2/0", told(a.take(3)))
	_, err := tryJoin(t, c, "s", "g", 10)
	same(t, "the second", "Unknown/FailedPrecondition", answerOf(err))
	a.close()
	until(t, c, "s", "g", "the first is gone", func(s *counters) bool { return s.RetryBufferCount == 3 })
	same(t, "then the second gets", "0/1 1/1 2/1", told(join(t, c, "s", "g", 10).take(3)))
}

func TestGroupDeletedUnderConsumer(t *testing.T) {
	t.Parallel()
	c := clientOf(t, esdbtest.Start(t).ConnectionString())
	newGroup(t, c, "s", "g", nil)
	mustAppend(t, c, "s", someEvents(4)...)
	m := join(t, c, "s", "g", 10)
	m.nack(esdb.NackActionPark, m.take(4)[:2]...)
	until(t, c, "s", "g", "parked", func(s *counters) bool { return s.ParkedMessagesCount == 2 })

	must(t, c.DeletePersistentSubscription(t.Context(), "s", "g", esdb.DeletePersistentSubscriptionOptions{}))
	dropped := m.next().SubscriptionDropped
	same(t, "dropped with", "plain/Canceled", answerOf(dropped.Error))
	same(t, "saying", "Subscription group g on stream s was dropped.", status.Convert(dropped.Error).Message())
	_, err := tryJoin(t, c, "s", "g", 10)
	same(t, "connecting then", "ResourceNotFound/NotFound", answerOf(err))
	same(t, "parked stream", 0, len(contentsOf(t, c, "$persistentsubscription-s::g-parked")))

	// Made again it begins at its start, and nothing is parked.
	newGroup(t, c, "s", "g", nil)
	same(t, "again", "0/0 1/0 2/0 3/0", told(join(t, c, "s", "g", 10).take(4)))
	same(t, "parked", 0, statsOf(t, c, "s", "g").ParkedMessagesCount)
}

func TestGroupUpdatedUnderConsumer(t *testing.T) {
	t.Parallel()
	now := newSteps()
	c := clientOf(t, esdbtest.Start(t, now.options()...).ConnectionString())
	newGroup(t, c, "s", "g", func(s *tuning) { s.CheckpointLowerBound = 1 })
	mustAppend(t, c, "s", someEvents(10)...)
	m := join(t, c, "s", "g", 5)
	m.ack(m.take(5)...)
	m.take(5)
	now.pass(3e9)

	if err := c.UpdatePersistentSubscription(t.Context(), "s", "g", esdb.PersistentStreamSubscriptionOptions{
		StartFrom: esdb.Start{}, Settings: groupSettings(func(s *tuning) { s.MaxRetryCount = 77 }),
	}); err != nil {
		t.Fatal(err)
	}
	same(t, "the consumer is dropped with", "plain/Canceled", answerOf(m.next().SubscriptionDropped.Error))
	same(t, "MaxRetryCount", 77, infoOf(t, c, "s", "g").Settings.MaxRetryCount)
	same(t, "goes on behind what is acked", "5/0 6/0 7/0 8/0 9/0", told(join(t, c, "s", "g", 20).take(5)))

	// A group to $all keeps its filter.
	at := mustAppend(t, c, "x", someEvents(1)...)
	from := esdb.Position{Commit: at.CommitPosition, Prepare: at.PreparePosition}
	options := esdb.PersistentAllSubscriptionOptions{StartFrom: from, Settings: groupSettings(nil), Filter: prefixed("x")}
	if err := c.CreatePersistentSubscriptionToAll(t.Context(), "a", options); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, c, "noise", someEvents(3)...)
	if err := c.UpdatePersistentSubscriptionToAll(t.Context(), "a", options); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, c, "x", someEvents(1)...)
	for i, e := range join(t, c, "", "a", 20).take(2) {
		same(t, "stream", "x", e.Event.Event.StreamID)
		same(t, "number", uint64(i), e.Event.Event.EventNumber)
	}
}
