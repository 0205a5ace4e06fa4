package esdbtest_test

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"hookledger/ledger/eventstore/esdbtest"
)

// TestRecorded runs the scripts of testdata: what a real server was recorded to answer, and what it is documented to.
// A line is a command, and behind the arrow the answer; "== name" begins a case, which has a server of its own.
// Commands:
//
//	append STREAM EXPECTED ID...     events with these ids; ID* is the same id with other data and another type.
//	                                 "ok N" is the stream's revision, @name the position: the same name, the same one
//	link STREAM EXPECTED N@S...      links
//	meta STREAM JSON [EXPECTED]      sets a stream's metadata; metadata STREAM reads it
//	delete, tombstone STREAM EXPECTED
//	read STREAM forwards|backwards FROM COUNT
//	data, position STREAM N          of one event
//	resolve STREAM                   reads with links resolved: what each points to, and the link's number
//	all STREAM...                    what $all holds of these streams
//	subscribe NAME STREAM FROM, recv NAME, close NAME
//	later DURATION, restart, scavenge
//
// An error is the client's code, or its code and gRPC's. \s is a space in a name.
func TestRecorded(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		for _, c := range casesOf(t, file) {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t)
			})
		}
	}
}

type scriptCase struct {
	file, name string
	steps      []step
}

type step struct {
	line   int
	words  []string
	answer string
}

func casesOf(t *testing.T, file string) []scriptCase {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []scriptCase
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		name, isName := strings.CutPrefix(line, "== ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case isName:
			out = append(out, scriptCase{file: file, name: name})
		case len(out) == 0:
			t.Fatalf("%s:%d: no case has begun", file, n)
		default:
			command, answer, _ := strings.Cut(line, " -> ")
			words := strings.Fields(command)
			for i := range words {
				words[i] = strings.ReplaceAll(words[i], `\s`, " ")
			}
			c := &out[len(out)-1]
			c.steps = append(c.steps, step{line: n, words: words, answer: strings.TrimSpace(answer)})
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// player is a case that runs.
type player struct {
	t         *testing.T
	ctx       context.Context
	clock     *clock
	server    *esdbtest.Server
	client    *esdb.Client
	positions map[string]uint64
	subs      map[string]*esdb.Subscription
}

func (c scriptCase) run(t *testing.T) {
	p := &player{t: t, ctx: t.Context(), clock: &clock{}, positions: map[string]uint64{},
		subs: map[string]*esdb.Subscription{}}
	p.server = esdbtest.Start(t, esdbtest.WithClock(p.clock.now))
	p.client = connect(t, p.server)
	for _, s := range c.steps {
		if got := p.do(s.words, s.answer); got != s.answer {
			t.Fatalf("%s:%d: %s\n  want  %s\n  here  %s", c.file, s.line, strings.Join(s.words, " "), s.answer, got)
		}
	}
}

func (p *player) do(w []string, want string) string {
	switch w[0] {
	case "append":
		return p.append(w[1], w[2], events(w[3:]), want)
	case "link":
		return p.append(w[1], w[2], links(w[3:]), want)
	case "meta":
		expected := "any"
		if len(w) > 3 {
			expected = w[3]
		}
		return p.append("$$"+w[1], expected, []esdb.EventData{{EventID: uuid.New(), EventType: "$metadata",
			ContentType: esdb.ContentTypeJson, Data: []byte(w[2])}}, want)
	case "metadata":
		read, err := p.read("$$"+w[1], esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 1)
		if err != nil {
			return key(err)
		}
		return string(read[0].Event.Data)
	case "delete":
		_, err := p.client.DeleteStream(p.ctx, w[1], esdb.DeleteStreamOptions{ExpectedRevision: expected(w[2])})
		return key(err)
	case "tombstone":
		_, err := p.client.TombstoneStream(p.ctx, w[1], esdb.TombstoneStreamOptions{ExpectedRevision: expected(w[2])})
		return key(err)
	case "read":
		options := esdb.ReadStreamOptions{From: from(w[3])}
		if w[2] == "backwards" {
			options.Direction = esdb.Backwards
		}
		read, err := p.read(w[1], options, number(p.t, w[4]))
		if err != nil {
			return key(err)
		}
		return revisions(read)
	case "data", "position":
		read, err := p.read(w[1], esdb.ReadStreamOptions{From: from(w[2])}, 1)
		if err != nil {
			return key(err)
		}
		if w[0] == "data" {
			return string(read[0].Event.Data)
		}
		return p.place(read[0].Event.Position.Commit, want)
	case "resolve":
		return p.resolve(w[1])
	case "all":
		return p.all(w[1:])
	case "subscribe":
		sub, err := p.client.SubscribeToStream(p.ctx, w[2], esdb.SubscribeToStreamOptions{From: from(w[3])})
		p.subs[w[1]] = sub
		return key(err)
	case "recv":
		return received(p.subs[w[1]], len(strings.Fields(want)))
	case "close":
		p.subs[w[1]].Close()
	case "later":
		d, err := time.ParseDuration(w[1])
		if err != nil {
			p.t.Fatal(err)
		}
		p.clock.advance(d)
	case "restart":
		if err := p.server.Restart(); err != nil {
			p.t.Fatal(err)
		}
		p.client = connect(p.t, p.server)
	case "scavenge":
		return strconv.Itoa(p.server.Scavenge()) + " removed"
	default:
		p.t.Fatalf("unknown command %q", w[0])
	}
	return ""
}

func (p *player) append(stream, expect string, events []esdb.EventData, want string) string {
	options := esdb.AppendToStreamOptions{ExpectedRevision: expected(expect)}
	w, err := p.client.AppendToStream(p.ctx, stream, options, events...)
	if err != nil {
		return key(err)
	}
	out := "ok " + strconv.FormatUint(w.NextExpectedVersion, 10)
	if place := p.place(w.CommitPosition, want); place != "" {
		out += " " + place
	}
	return out
}

// place says whether a position is the one that the script has named so; the first that is named is. 0 is @nowhere.
func (p *player) place(position uint64, want string) string {
	_, name, named := strings.Cut(want, "@")
	switch at, known := p.positions[name]; {
	case position == 0:
		return "@nowhere"
	case !named:
		return ""
	case !known:
		p.positions[name] = position
	case at != position:
		return "@elsewhere"
	}
	return "@" + name
}

func (p *player) read(stream string, o esdb.ReadStreamOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	return drain(p.client.ReadStream(p.ctx, stream, o, count))
}

func (p *player) resolve(stream string) string {
	read, err := p.read(stream, esdb.ReadStreamOptions{ResolveLinkTos: true}, 100)
	if err != nil {
		return key(err)
	}
	var out []string
	for _, r := range read {
		target := "nil"
		if r.Event != nil {
			target = r.Event.StreamID + ":" + strconv.FormatUint(r.Event.EventNumber, 10)
		}
		if r.Link != nil {
			target += "<-" + strconv.FormatUint(r.Link.EventNumber, 10)
		}
		out = append(out, target)
	}
	return strings.Join(out, " ")
}

func (p *player) all(streams []string) string {
	read, err := drain(p.client.ReadAll(p.ctx, esdb.ReadAllOptions{}, 1000))
	if err != nil {
		return key(err)
	}
	var out []string
	for _, r := range read {
		for _, s := range streams {
			if e := r.OriginalEvent(); e.StreamID == s {
				out = append(out, e.EventType+":"+strconv.FormatUint(e.EventNumber, 10))
			}
		}
	}
	return strings.Join(out, " ")
}
