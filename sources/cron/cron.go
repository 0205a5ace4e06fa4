package cron

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"hookledger/domain"
	"hookledger/sources/pointer"
)

// EventType is what every post becomes.
const EventType = "cron.completed"

// Run is a post as it was read.
type Run struct {
	ID   string // of the event
	Data []byte // of the event
	// Former is the id that the event has if the run began in the window before: where an event of that id was
	// received within the window, this is its repeat. It is empty where the body named the run.
	Former string
	Job    string
	Run    string
	// Timestamp is when the run ended, where the body says so.
	Timestamp *time.Time
}

// defaults are where each field is looked for, in this order, when the configuration does not say.
var defaults = map[string][]string{
	"jobId":      {"/jobId", "/job_id", "/job/id", "/cronJobId", "/cron_job_id", "/job"},
	"runId":      {"/runId", "/run_id", "/run/id", "/executionId", "/execution_id"},
	"agentId":    {"/agentId", "/agent_id", "/agent/id"},
	"status":     {"/status", "/run/status", "/state"},
	"startedAt":  {"/startedAt", "/started_at", "/run/startedAt", "/startTime"},
	"finishedAt": {"/finishedAt", "/finished_at", "/completedAt", "/completed_at", "/endTime", "/timestamp"},
	"durationMs": {"/durationMs", "/duration_ms", "/run/durationMs"},
	"output":     {"/output", "/text", "/message", "/result"},
}

// statuses are the words that others use for the two of ours.
var statuses = map[string]string{"success": "success", "succeeded": "success", "ok": "success", "completed": "success",
	"done": "success", "error": "error", "failed": "error", "failure": "error", "timeout": "error"}

// Read makes a run of a post. job, where it is not empty, is the job's id that the URL names. Errors are *domain.Error
// and name the field.
func Read(src *domain.Source, job string, body []byte, now time.Time) (*Run, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, refuse("empty_body", "the post has no body", "post what the job put out, as JSON or as text")
	}
	if len(body) > domain.MaxBody {
		return nil, domain.Refuse(domain.KindTooLarge, "body_too_large", "the body has "+strconv.Itoa(len(body))+" bytes",
			"post at most "+strconv.Itoa(domain.MaxBody)+" bytes")
	}
	r := &reader{src: src, fields: map[string]pointer.Value{}}
	if err := r.parse(body); err != nil {
		return nil, err
	}
	if job == "" {
		job = src.Config.Cron.Job
	}
	return r.run(job, body, now)
}

func refuse(code, detail, fix string) error {
	return domain.Refuse(domain.KindInvalid, code, detail, fix)
}

// run fills in what the body does not say, and derives the ids.
func (r *reader) run(job string, body []byte, now time.Time) (*Run, error) {
	out := &Run{Job: r.text("jobId"), Run: r.text("runId")}
	if out.Job == "" {
		out.Job = job
	}
	if out.Job == "" {
		return nil, refuse("missing_field", "the post names no job", `put ?job=NAME behind the URL, set the source's job, `+
			`or say where the body names it: --field jobId=/path/to/it`)
	}
	tenant, source := r.src.Tenant, r.src.ID
	if out.Run != "" {
		out.ID = eventID(tenant, source, out.Job, out.Run)
	} else {
		sum := sha256.Sum256(body)
		digest := hex.EncodeToString(sum[:])
		window := now.Truncate(time.Duration(r.src.Config.Cron.Window))
		out.Run = runID(digest, window)
		out.ID = eventID(tenant, source, out.Job, out.Run)
		former := runID(digest, window.Add(-time.Duration(r.src.Config.Cron.Window)))
		out.Former = eventID(tenant, source, out.Job, former)
	}
	return out, r.data(out)
}

// runID names a run that did not say its id.
func runID(digest string, window time.Time) string {
	return domain.NewID("run_", domain.DerivedID(window, "cron run", digest))
}

func eventID(tenant, source, job, run string) string {
	return domain.NewID(domain.PrefixEvent, domain.DerivedID(time.Time{}, "cron", tenant, source, job, run))
}

// data writes the event's data: what was understood under our names, then what the body has besides, as it came.
func (r *reader) data(out *Run) error {
	b := []byte(`{"jobId":`)
	b = appendString(b, out.Job)
	b = append(b, `,"runId":`...)
	b = appendString(b, out.Run)
	if v := r.text("agentId"); v != "" {
		b = append(b, `,"agentId":`...)
		b = appendString(b, v)
	}
	status, err := r.status()
	if err != nil {
		return err
	}
	if status != "" {
		b = append(b, `,"status":"`+status+`"`...)
	}
	started, err := r.time("startedAt")
	if err != nil {
		return err
	}
	if started != nil {
		b = append(b, `,"startedAt":`...)
		b = appendString(b, started.Format(time.RFC3339Nano))
	}
	if out.Timestamp, err = r.time("finishedAt"); err != nil {
		return err
	}
	if v := r.fields["durationMs"]; v != nil {
		n, err := strconv.ParseUint(strings.Trim(string(v), `"`), 10, 63)
		if err != nil {
			return r.wrong("durationMs", "a whole number of milliseconds")
		}
		b = append(b, `,"durationMs":`...)
		b = strconv.AppendUint(b, n, 10)
	}
	if v := r.fields["output"]; v != nil {
		b = append(b, `,"output":`...)
		if v.Kind() == '"' {
			b = append(b, v...)
		} else {
			b = appendString(b, string(v)) // our output is a text
		}
	}
	for _, m := range r.rest {
		b = append(b, ',')
		b = append(appendString(b, m.name), ':')
		b = append(b, m.value...)
	}
	for i, m := range r.clash {
		b = append(b, [...]string{`,"posted":{`, `,`}[min(i, 1)]...)
		b = append(appendString(b, m.name), ':')
		b = append(b, m.value...)
	}
	if len(r.clash) > 0 {
		b = append(b, '}')
	}
	out.Data = append(b, '}')
	return nil
}

func (r *reader) status() (string, error) {
	v := r.fields["status"]
	word := strings.ToLower(r.text("status"))
	switch {
	case v == nil:
		return "", nil
	case v.Kind() == 't':
		return "success", nil
	case v.Kind() == 'f':
		return "error", nil
	}
	for theirs, ours := range r.src.Config.Statuses {
		if strings.EqualFold(theirs, word) {
			return ours, nil
		}
	}
	if ours := statuses[word]; ours != "" {
		return ours, nil
	}
	return "", refuse("unknown_status", "the body's status at "+r.found["status"]+" is not one that is known",
		"say what it means: --status THEIRS=success or --status THEIRS=error")
}

func (r *reader) time(field string) (*time.Time, error) {
	v := r.fields[field]
	if v == nil || v.Kind() == 'n' {
		return nil, nil
	}
	if v.Kind() == '0' { // a number: unix seconds, or milliseconds
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || n < 0 || n > 1e14 {
			return nil, r.wrong(field, "a time")
		}
		t := time.Unix(n, 0).UTC()
		if n > 1e11 {
			t = time.UnixMilli(n).UTC()
		}
		return &t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, r.text(field))
	if err != nil {
		return nil, r.wrong(field, "a time as in RFC 3339, or unix seconds")
	}
	t = t.UTC()
	return &t, nil
}

func (r *reader) wrong(field, want string) error {
	return refuse("wrong_type", "the body's "+field+" at "+r.found[field]+" is not "+want,
		"post "+want+", or read another place: --field "+field+"=/path/to/it")
}

// text is a field as a text; a number is written as it came.
func (r *reader) text(field string) string {
	if v := r.fields[field]; v != nil {
		return pointer.Text(v)
	}
	return ""
}

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	return b
}

// places are where a field is looked for.
func (r *reader) places(field string) []string {
	if p, ok := r.src.Config.Fields[field]; ok {
		return []string{p}
	}
	return defaults[field]
}

// names are the fields in the order in which they are looked for: a place that one has taken is not another's.
func names() []string { return slices.Clone(domain.SourceFields(domain.SourceCron)) }

func validText(b []byte) bool { return utf8.Valid(b) && !bytes.ContainsRune(b, 0) }
