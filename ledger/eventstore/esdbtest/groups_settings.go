package esdbtest

import (
	"strconv"
	"time"

	pp "github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
)

// groupStart is where a group without a checkpoint begins.
type groupStart struct {
	next uint64 // revision, or position in $all
	text string // as infos have it
}

// update gives the group new settings and starts it again.
func (g *group) update(settings groupSettings, start groupStart) {
	g.mu.Lock()
	g.settings, g.start = settings, start
	g.mu.Unlock()
	g.reset(errGroupDropped(g))
}

// newGroup reads what a request wants created.
func (s *groupsService) newGroup(o *pp.CreateReq_Options) (*group, error) {
	g := &group{name: o.GetGroupName()}
	given := o.GetSettings()
	strategy := given.GetConsumerStrategy()
	if strategy == "" {
		strategy = given.GetNamedConsumerStrategy().String() //nolint:staticcheck // what clients before 21.10 send
	}
	if all := o.GetAll(); all != nil {
		g.start = s.startOfAll(all.GetEnd(), all.GetPosition())
		if p := all.GetPosition(); p != nil && p.GetCommitPosition() >= s.groups.engine.tip() {
			return nil, errGroupFailed("", g.name, "Invalid Start From position: commit position must be less than or "+
				"equal to the last commit position in the transaction file.")
		}
		var err error
		if g.filter, err = groupFilter(all.GetFilter()); err != nil {
			return nil, err
		}
	} else {
		of := o.GetStream()
		if g.stream = string(of.GetStreamIdentifier().GetStreamName()); g.stream == allStream {
			return nil, failure(codes.Unknown, "Envelope callback expected either "+
				"CreatePersistentSubscriptionToAllCompleted or NotHandled, received "+
				"CreatePersistentSubscriptionToStreamCompleted instead")
		}
		g.start = s.startOfStream(g.stream, of.GetEnd(), of.GetRevision())
	}
	var err error
	g.settings, err = settingsOf(g.stream, g.name, given, strategy)
	return g, err
}

func (s *groupsService) updatedStart(o *pp.UpdateReq_Options) (stream string, start groupStart) {
	if all := o.GetAll(); all != nil {
		return "", s.startOfAll(all.GetEnd(), all.GetPosition())
	}
	of := o.GetStream()
	stream = string(of.GetStreamIdentifier().GetStreamName())
	return stream, s.startOfStream(stream, of.GetEnd(), of.GetRevision())
}

func (s *groupsService) startOfStream(stream string, end *shared.Empty, revision uint64) groupStart {
	if end != nil {
		return groupStart{s.groups.engine.look(stream).next, "-1"}
	}
	return groupStart{revision, strconv.FormatUint(revision, 10)}
}

// position is a place in the log as requests have it.
type position interface {
	GetCommitPosition() uint64
	GetPreparePosition() uint64
}

func (s *groupsService) startOfAll(end *shared.Empty, p position) groupStart {
	if end != nil {
		return groupStart{s.groups.engine.tip(), "C:-1/P:-1"}
	}
	return groupStart{p.GetCommitPosition(), allPosition(p.GetCommitPosition(), p.GetPreparePosition())}
}

func groupFilter(f *pp.CreateReq_AllOptions_FilterOptions) (filter, error) {
	if f == nil {
		return nil, nil
	}
	same := &streams.ReadReq_Options_FilterOptions{}
	if of := f.GetStreamIdentifier(); of != nil {
		same.Filter = &streams.ReadReq_Options_FilterOptions_StreamIdentifier{
			StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Regex: of.GetRegex(), Prefix: of.GetPrefix()}}
	} else {
		of := f.GetEventType()
		same.Filter = &streams.ReadReq_Options_FilterOptions_EventType{
			EventType: &streams.ReadReq_Options_FilterOptions_Expression{Regex: of.GetRegex(), Prefix: of.GetPrefix()}}
	}
	out, _, err := filterOf(&streams.ReadReq_Options{FilterOption: &streams.ReadReq_Options_Filter{Filter: same}})
	return out, err
}

// settingsRequest is what creating and updating have in common.
type settingsRequest interface {
	GetResolveLinks() bool
	GetExtraStatistics() bool
	GetMaxRetryCount() int32
	GetMinCheckpointCount() int32
	GetMaxCheckpointCount() int32
	GetMaxSubscriberCount() int32
	GetLiveBufferSize() int32
	GetReadBatchSize() int32
	GetHistoryBufferSize() int32
	GetMessageTimeoutMs() int32
	GetMessageTimeoutTicks() int64
	GetCheckpointAfterMs() int32
	GetCheckpointAfterTicks() int64
}

func settingsOf(stream, name string, o settingsRequest, strategy string) (groupSettings, error) {
	if o.GetReadBatchSize() >= o.GetHistoryBufferSize() {
		return groupSettings{}, errGroupFailed(stream, name, "Specified argument was out of the range of valid values. "+
			"(Parameter 'ReadBatchSize may not be greater than or equal to BufferSize')")
	}
	if newStrategy(strategy, nil) == nil {
		return groupSettings{}, errGroupFailed(stream, name, "Consumer strategy "+strategy+" does not exist.")
	}
	return groupSettings{
		resolveLinks: o.GetResolveLinks(), extraStatistics: o.GetExtraStatistics(), maxRetries: o.GetMaxRetryCount(),
		minCheckpoint: o.GetMinCheckpointCount(), maxCheckpoint: o.GetMaxCheckpointCount(),
		maxSubscribers: o.GetMaxSubscriberCount(), liveBuffer: o.GetLiveBufferSize(), readBatch: o.GetReadBatchSize(),
		historyBuffer: o.GetHistoryBufferSize(), strategy: strategy,
		messageTimeout:  span(o.GetMessageTimeoutMs(), o.GetMessageTimeoutTicks()),
		checkpointAfter: span(o.GetCheckpointAfterMs(), o.GetCheckpointAfterTicks()),
	}, nil
}

// span is a time that is given in milliseconds, or in ticks of 100 ns.
func span(ms int32, ticks int64) time.Duration {
	return time.Duration(ms)*time.Millisecond + time.Duration(ticks)*100
}

// info is what a real server tells about a group.
func (g *group) info() *pp.SubscriptionInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	s := &g.settings
	out := &pp.SubscriptionInfo{
		EventSource: g.source(), GroupName: g.name, Status: "Live", StartFrom: g.start.text,
		TotalItems: g.stats.sent, CountSinceLastMeasurement: g.stats.sent - g.stats.measured,
		AveragePerSecond:              perSecond(g.stats.sent-g.stats.measured, now.Sub(g.stats.since)),
		LastCheckpointedEventPosition: g.positionOf(g.mark.at), LastKnownEventPosition: g.positionOf(g.stats.last),
		ResolveLinkTos: s.resolveLinks, ExtraStatistics: s.extraStatistics, MaxRetryCount: s.maxRetries,
		MessageTimeoutMilliseconds: millis(s.messageTimeout), CheckPointAfterMilliseconds: millis(s.checkpointAfter),
		LiveBufferSize: s.liveBuffer, BufferSize: s.historyBuffer, ReadBatchSize: s.readBatch,
		MinCheckPointCount: s.minCheckpoint, MaxCheckPointCount: s.maxCheckpoint, MaxSubscriberCount: s.maxSubscribers,
		NamedConsumerStrategy: s.strategy,
		ReadBufferCount:       int32(len(g.buffer)), RetryBufferCount: int32(len(g.retry)), //nolint:gosec // small
		LiveBufferCount: int64(g.stats.live), TotalInFlightMessages: int32(len(g.inFlight)), //nolint:gosec // small
		OutstandingMessagesCount: int32(len(g.inFlight)), //nolint:gosec // small
		ParkedMessageCount:       int64(len(g.engine.look(g.parkedStream()).events)),
	}
	if g.behind {
		out.Status = "Behind"
	}
	g.stats.measured, g.stats.since = g.stats.sent, now
	for _, c := range g.consumers {
		out.Connections = append(out.Connections, &pp.SubscriptionInfo_ConnectionInfo{
			Username: c.user, ConnectionName: "<unknown>",
			TotalItems: c.sent, CountSinceLastMeasurement: c.sent - c.measured,
			AverageItemsPerSecond: perSecond(c.sent-c.measured, now.Sub(c.since)),
			AvailableSlots:        int32(c.room), InFlightMessages: int32(len(c.unconfirmed)), //nolint:gosec // small
		})
		c.measured, c.since = c.sent, now
	}
	return out
}

func millis(d time.Duration) int32 { return int32(d.Milliseconds()) } //nolint:gosec // came as int32

func perSecond(n int64, d time.Duration) int32 {
	if d <= 0 {
		return 0
	}
	return int32(float64(n) / d.Seconds())
}
