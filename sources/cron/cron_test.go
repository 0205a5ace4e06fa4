package cron

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

var noon = time.Date(2026, 3, 17, 12, 0, 0, 0, time.UTC)

func source(change func(*domain.SourceConfig)) *domain.Source {
	s := &domain.Source{ID: "src_1", Tenant: "acme", Config: domain.SourceConfig{Kind: domain.SourceCron, TimeZone: "UTC",
		Cron: &domain.CronConfig{Window: domain.Duration(domain.DefaultCronWindow)}}}
	if change != nil {
		change(&s.Config)
	}
	return s
}

func TestAPostBecomesCronCompleted(t *testing.T) {
	t.Parallel()
	mapped := func(c *domain.SourceConfig) {
		c.Fields = map[string]string{"jobId": "/meta/0/name", "runId": "/meta/0/~1id", "output": "/log"}
		c.Statuses = map[string]string{"PAUSED": "error"}
	}
	for name, c := range map[string]struct {
		change    func(*domain.SourceConfig)
		job, body string
		want      string
		at        string
	}{
		"our own names": {nil, "", `{"jobId":"j","runId":"r","agentId":"a","status":"success",` +
			`"startedAt":"2026-03-17T08:00:02+01:00","durationMs":41873,"output":"done"}`,
			`{"jobId":"j","runId":"r","agentId":"a","status":"success","startedAt":"2026-03-17T07:00:02Z",` +
				`"durationMs":41873,"output":"done"}`, ""},
		"snake case, other words, what else there is": {nil, "",
			` {"job_id":7,"run_id":"r","state":"FAILED","finished_at":1773741644,"cost":0.10,"nested":{"a":[1e2]}} `,
			`{"jobId":"7","runId":"r","status":"error","cost":0.10,"nested":{"a":[1e2]}}`, "2026-03-17T10:00:44Z"},
		"a status that is yes or no, milliseconds": {nil, "j", `{"run":{"id":"r","status":false},"endTime":1773741644123}`,
			`{"jobId":"j","runId":"r","status":"error","run":{"id":"r","status":false}}`, "2026-03-17T10:00:44.123Z"},
		"mapped": {mapped, "", `{"meta":[{"name":"n","/id":"r"}],"status":"paused","log":{"lines":["x"]}}`,
			`{"jobId":"n","runId":"r","status":"error","output":"{\"lines\":[\"x\"]}","meta":[{"name":"n","/id":"r"}]}`, ""},
		"our name with something else in it": {nil, "", `{"jobId":"j","runId":"r","status":{"code":1},"posted":2}`,
			`{"jobId":"j","runId":"r","posted":{"status":{"code":1},"posted":2}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			run, err := Read(source(c.change), c.job, []byte(c.body), noon)
			if err != nil {
				t.Fatal(err)
			}
			if string(run.Data) != c.want || run.Former != "" || !domain.ValidEventID(run.ID) {
				t.Errorf("got  %s\nwant %s (%+v)", run.Data, c.want, run)
			}
			at := ""
			if run.Timestamp != nil {
				at = run.Timestamp.Format(time.RFC3339Nano)
			}
			if at != c.at {
				t.Errorf("timestamp %q, want %q", at, c.at)
			}
		})
	}
}

func TestTextIsTheJobsOutput(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"Daily report: 14 tickets\n", "[1,2]", "<html>", `"a"`} {
		run, err := Read(source(func(c *domain.SourceConfig) { c.Cron.Job = "job" }), "", []byte(body), noon)
		if err != nil {
			t.Fatal(err)
		}
		var data struct{ JobID, RunID, Output string }
		if err := json.Unmarshal(run.Data, &data); err != nil || data.Output != strings.TrimSpace(body) ||
			data.JobID != "job" || data.RunID != run.Run || !strings.HasPrefix(run.Run, "run_") {
			t.Errorf("%s: %v", run.Data, err)
		}
	}
}

func TestBadPostsNameTheFieldAndTheFix(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]string{
		"":                                       {"empty_body", ""},
		" \n":                                    {"empty_body", ""},
		`{"a":1`:                                 {"invalid_json", "EOF"},
		`{"jobId":"a","jobId":"b"}`:              {"invalid_json", "duplicate"},
		`{"jobId":"a"} {}`:                       {"invalid_json", "follows"},
		`{"runId":"a"}`:                          {"missing_field", "job"},
		`{"jobId":"a","status":"asleep"}`:        {"unknown_status", "/status"},
		`{"jobId":"a","durationMs":"soon"}`:      {"wrong_type", "/durationMs"},
		`{"jobId":"a","durationMs":-1}`:          {"wrong_type", "/durationMs"},
		`{"jobId":"a","started_at":"yesterday"}`: {"wrong_type", "/started_at"},
		`{"jobId":"a","finishedAt":true}`:        {"wrong_type", "/finishedAt"},
		"\xff\xfe":                               {"invalid_body", "UTF-8"},
		strings.Repeat("x", domain.MaxBody+1):    {"body_too_large", ""},
		`{"jobId":"a","startedAt":99999999999999999999}`: {"wrong_type", "/startedAt"},
	} {
		_, err := Read(source(nil), "", []byte(body), noon)
		var refusal *domain.Error
		if !errors.As(err, &refusal) || refusal.Code != want[0] || !strings.Contains(err.Error(), want[1]) ||
			refusal.Fix == "" {
			t.Errorf("%.40q: %v", body, err)
		}
	}
}

// TestARepeatedPostIsNoSecondRun: with an id of its own a run is that run whenever it is posted; without, the same body
// is the same run within the window, wherever the window's bounds are, and another one two windows later.
func TestARepeatedPostIsNoSecondRun(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		src := source(func(c *domain.SourceConfig) {
			c.Cron.Window = domain.Duration(rapid.IntRange(1, 3600).Draw(t, "window")) * domain.Duration(time.Second)
		})
		window := time.Duration(src.Config.Cron.Window)
		first := noon.Add(time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "first")))
		gap := time.Duration(rapid.Int64Range(0, int64(4*window)).Draw(t, "gap"))
		body := []byte(rapid.SampledFrom([]string{`{"jobId":"j"}`, `{"jobId":"j","output":"x"}`, `text`}).Draw(t, "body"))
		read := func(src *domain.Source, body []byte, at time.Time) *Run {
			run, err := Read(src, "job", body, at)
			if err != nil {
				t.Fatal(err)
			}
			return run
		}
		a, b := read(src, body, first), read(src, body, first.Add(gap))
		same := a.ID == b.ID || a.ID == b.Former
		if gap <= window && !same {
			t.Fatalf("a repeat after %s of %s is another run", gap, window)
		}
		if gap >= 2*window && same {
			t.Fatalf("a post after %s of %s is the same run", gap, window)
		}
		if other := read(src, append(body[:len(body):len(body)], ' ', 'x')[:len(body)+1], first); other.ID == a.ID {
			t.Fatal("another body is the same run")
		}
		named := []byte(`{"jobId":"j","runId":"r"}`)
		if x, y := read(src, named, first), read(src, named, first.Add(10*window)); x.ID != y.ID || x.Former != "" {
			t.Fatal("a run that says its id is another one later")
		}
		foreign := *src
		foreign.ID = "src_2"
		if read(&foreign, named, first).ID == read(src, named, first).ID {
			t.Fatal("two sources share a run")
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "text", `{"jobId":"a"}`, `{"job":{"id":1},"run":{"id":"\ud800"}}`, `{"":{}}`, "{"} {
		f.Add([]byte(seed))
	}
	src := source(func(c *domain.SourceConfig) { c.Fields = map[string]string{"agentId": "/a/0/b"} })
	f.Fuzz(func(t *testing.T, body []byte) {
		run, err := Read(src, "job", body, noon)
		if err != nil {
			return
		}
		var data struct{ JobID, RunID *string }
		if err := json.Unmarshal(run.Data, &data); err != nil || data.JobID == nil || *data.RunID == "" ||
			!domain.ValidEventID(run.ID) {
			t.Fatalf("%s: %v", run.Data, err)
		}
	})
}
