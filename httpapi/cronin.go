package httpapi

import (
	"context"
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hookledger/domain"
	"hookledger/ingest"
	"hookledger/sources/cron"
)

// CronReceipt is the answer to a cron system's post: the run is on the ledger.
type CronReceipt struct {
	ID        string `json:"id" doc:"The event's id." example:"evt_01KP8Z6Y3S4V5W6X7Y8Z9A0B1C"`
	Event     string `json:"event" example:"cron.completed"`
	JobID     string `json:"job_id" example:"job_daily_report"`
	RunID     string `json:"run_id" example:"run_8842"`
	Duplicate bool   `json:"duplicate" doc:"The run was posted before; nothing was written."`
	Differs   bool   `json:"differs,omitempty" doc:"And with another content: the first one holds."`
}

func (a *api) registerCronIn() {
	a.addRaw(operation{id: "post-cron", tag: "Sources", summary: "Take a cron system's post",
		description: "The body as the cron system sends it: JSON or text, of any content type, at most 512 KiB. The path " +
			"holds the source's token, and no key is asked for. It becomes a cron.completed. A run that says its id is " +
			"taken once for ever; one that does not is known by its body within the source's window."},
		[]*huma.Param{
			{Name: "token", In: "path", Required: true, Description: "The source's token, hlc_….",
				Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "job", In: "query", Description: "The job, where the body names none.",
				Schema: &huma.Schema{Type: huma.TypeString, MaxLength: ptr(domain.MaxIDLength)}}},
		&huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: &huma.Schema{}}, "text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}},
		http.StatusAccepted, &huma.Response{Description: "It is on the ledger.", Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemaOf[CronReceipt](a)}}})
	a.mux.guard("POST /in/cron/{token}", a.cronIn)
}

func (a *api) cronIn(w http.ResponseWriter, r *http.Request, _ *caller) {
	receipt, err := a.takeCron(w, r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusAccepted, receipt)
}

func (a *api) takeCron(w http.ResponseWriter, r *http.Request) (*CronReceipt, error) {
	hash := sha256.Sum256([]byte(r.PathValue("token")))
	src, err := lookAgain(r.Context(), a, a.configAt, func() (*domain.Source, error) {
		if s, ok := a.Directory.CronSource(hash); ok {
			return s, nil
		}
		return nil, domain.Refuse(domain.KindNotFound, "source_not_found", "there is no source with this token",
			"post to the path that adding the source showed, or add one with: hookledger source add --kind cron")
	})
	if err != nil {
		return nil, err
	}
	job := r.URL.Query().Get("job")
	if len(job) > domain.MaxIDLength {
		return nil, newProblem(http.StatusBadRequest, "invalid_request", "job is too long: use at most 128 characters")
	}
	body, err := readBody(w, r, domain.MaxBody)
	if err != nil {
		a.countRefusal(&ingest.Refusal{Tenant: src.Tenant, Key: src.ID}, err)
		return nil, err
	}
	receipt, err := a.postCron(r.Context(), src, job, body)
	if err != nil {
		a.countRefusal(&ingest.Refusal{Tenant: src.Tenant, Key: src.ID, Body: body,
			Post: ingest.Post{Event: cron.EventType}}, err)
	}
	return receipt, err
}

// postCron turns a cron system's post into a run, and takes it once.
func (a *api) postCron(ctx context.Context, src *domain.Source, job string, body []byte) (*CronReceipt, error) {
	now := a.Now()
	run, err := cron.Read(src, job, body, now)
	if err != nil {
		return nil, err
	}
	if run.Former != "" {
		// The windows have fixed bounds: what began in the one before may not be over yet.
		window := time.Duration(src.Config.Cron.Window)
		first, err := a.firstRecord(ctx, domain.EventStream(src.Tenant, run.Former))
		if err != nil {
			return nil, err
		}
		if first != nil && now.Sub(first.RecordedAt) < window {
			if run, err = cron.Read(src, job, body, now.Add(-window)); err != nil {
				return nil, err
			}
		}
	}
	receipt, err := a.Ingest.Post(ctx, ingest.Post{Tenant: src.Tenant,
		Actor: domain.Actor{Kind: domain.ActorSource, ID: src.ID}, ID: run.ID, Event: cron.EventType,
		Timestamp: run.Timestamp, Source: src.ID, Data: run.Data})
	out := &CronReceipt{ID: run.ID, Event: cron.EventType, JobID: run.Job, RunID: run.Run}
	if domain.Code(err) == "id_conflict" {
		out.Duplicate, out.Differs = true, true
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Duplicate = receipt.Duplicate
	return out, nil
}
