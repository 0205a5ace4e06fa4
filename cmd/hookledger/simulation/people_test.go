package simulation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"hookledger/domain"
)

// What people do, and what they are told: each answer is held against what the witness reads on the ledger behind it,
// and in the end all that the API shows against all that the ledger says.

// does asks the API for something that a person wants, and lets right say whether the ledger is now as the answer has
// it: code is empty where it was done, else why it was refused.
func (w *world) does(method, path string, body any, right func(l *witness, code string) bool) answer {
	a := w.ask(method, path, body)
	var problem struct{ Code string }
	if a.status/100 != 2 {
		if err := json.Unmarshal(a.body, &problem); err != nil || problem.Code == "" {
			w.t.Errorf("%s %s is answered %d %s", method, path, a.status, a.body)
			return a
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.readOn(); err != nil {
		w.t.Errorf("the ledger can't be read: %v", err)
	} else if !right(w.ledger, problem.Code) {
		w.t.Errorf("%s %s is answered %d %s, and the ledger says otherwise", method, path, a.status, a.body)
	}
	return a
}

// register makes an endpoint with a host and a key of its own.
func (w *world) register() {
	host := fmt.Sprintf("receiver%d.example", len(w.hosts))
	types := []string{"cron.*"}
	wanted := map[string]any{"url": "http://" + host + "/hook", "timeout": "10s", "secret": w.secret(0),
		"max_in_flight": []int{0, 1, 5}[w.rng.IntN(3)]}
	switch w.rng.IntN(6) {
	case 0:
		types = []string{"endpoint.*", "delivery.exhausted", "cron.*"}
	case 1:
		wanted["channel"] = "url"
	case 2, 3:
		wanted["ordered"] = true
		wanted["on_exhausted"] = []string{"continue", "wait"}[w.rng.IntN(2)]
	}
	wanted["event_types"] = types
	if w.span.schedule != nil {
		wanted["retry_schedule"] = w.span.schedule
	}
	a := w.ask("POST", "/v1/endpoints", wanted)
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil || a.status != http.StatusCreated {
		w.t.Fatalf("an endpoint is not made: %d %s", a.status, a.body)
	}
	w.hosts = append(w.hosts, host)
	w.mu.Lock()
	w.ids[host] = made.ID
	w.mu.Unlock()
}

// secret draws a signing key that somebody asks for, and tells the witness of it before it can be used.
func (w *world) secret(overlap time.Duration) string {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(w.rng.Uint32())
	}
	secret := domain.NewSecret(domain.SecretPrefix + base64.StdEncoding.EncodeToString(raw))
	if w.rng.IntN(4) == 0 {
		secret = domain.EncodePrivateKey(raw)
	}
	key, err := domain.ParseVerifyKey(secret)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ledger.endpoints.asked[secret.Fingerprint()] = asked{key: key, overlap: overlap}
	return secret.Reveal()
}

func (w *world) host() string     { return w.hosts[w.rng.IntN(len(w.hosts))] }
func (w *world) endpoint() string { return w.ids[w.host()] }

// changes asks for a change of an endpoint; done says whether it has come about. One that was removed has none.
func (w *world) changes(method, endpoint, what string, body any, done func(s standing) bool) {
	w.does(method, "/v1/endpoints/"+endpoint+what, body, func(l *witness, code string) bool {
		s := l.endpoints.now[endpoint]
		return code == "" && done(s) || code == "endpoint_not_found" && s.removed
	})
}

func (w *world) disable(endpoint string) {
	w.changes("POST", endpoint, "/disable", struct{}{}, func(s standing) bool { return s.disabled })
}

// enables enables an endpoint; an answer of 410 may disable it anew at once.
func (w *world) enables(endpoint string) {
	asked := now()
	w.changes("POST", endpoint, "/enable", struct{}{}, func(s standing) bool {
		return !s.removed && (!s.disabled || !s.since.Before(asked))
	})
}

func (w *world) remove(endpoint string) {
	w.changes("DELETE", endpoint, "", nil, func(s standing) bool { return s.removed })
}

func (w *world) reconfigure(endpoint string) {
	waits := hours.schedule[:1+w.rng.IntN(len(hours.schedule))]
	w.changes("PATCH", endpoint, "", map[string]any{"retry_schedule": waits}, func(s standing) bool {
		return !s.removed && s.steps == len(waits)
	})
}

// rotate gives an endpoint a new key. The witness knows from when on it signs, and until when which other one does.
func (w *world) rotate(endpoint string) {
	overlap := []time.Duration{0, time.Minute, 20 * time.Minute, 3 * time.Hour}[w.rng.IntN(4)]
	before, secret := now(), w.secret(overlap)
	w.does("POST", "/v1/endpoints/"+endpoint+"/rotate-secret", map[string]any{"secret": secret,
		"overlap": overlap.String()}, func(l *witness, code string) bool {
		s := l.endpoints.now[endpoint]
		switch code {
		case "":
			return !s.removed && s.fingerprint == domain.NewSecret(secret).Fingerprint()
		case "too_many_secrets":
			return overlap > 0 && len(s.signing(before)) > domain.MaxPreviousKeys
		}
		return code == "endpoint_not_found" && s.removed
	})
}

// delivery picks one of the newest deliveries that the filter names; empty: there is none.
func (w *world) delivery(filter string) string {
	a := w.ask("GET", "/v1/deliveries?limit=50"+filter, nil)
	var list struct{ Data []struct{ ID string } }
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
		w.t.Errorf("deliveries are not listed: %d %s", a.status, a.body)
	}
	if len(list.Data) == 0 {
		return ""
	}
	return list.Data[w.rng.IntN(len(list.Data))].ID
}

func (w *world) retry(delivery string) {
	if delivery == "" {
		return
	}
	asked, force := now(), w.rng.IntN(3) == 0
	w.does("POST", "/v1/deliveries/"+delivery+"/retry", map[string]any{"force": force},
		func(l *witness, code string) bool {
			d := l.deliveries[delivery]
			switch code {
			case "":
				return !d.asked.Before(asked)
			case "already_succeeded":
				return !force && d.confirmed
			case "endpoint_removed":
				return l.removed(d.endpoint)
			}
			return code == "attempt_in_flight" && d.flew(asked)
		})
}

// cancel cancels a delivery, one that waits where there is one: it is begun no more, until somebody retries it.
func (w *world) cancel() {
	filters := []string{"&status=pending", "&status=retrying", "&status=held", "&status=exhausted"}
	w.rng.Shuffle(len(filters), func(i, j int) { filters[i], filters[j] = filters[j], filters[i] })
	delivery := ""
	for _, filter := range append(filters, "") {
		if delivery = w.delivery(filter); delivery != "" {
			break
		}
	}
	if delivery == "" {
		return
	}
	asked := now()
	w.does("POST", "/v1/deliveries/"+delivery+"/cancel", map[string]any{"reason": "simulated"},
		func(l *witness, code string) bool {
			d := l.deliveries[delivery]
			switch code {
			case "":
				return d.cancelled || l.removed(d.endpoint)
			case "delivery_ended":
				return d.succeeded
			}
			return code == "attempt_in_flight" && d.flew(asked)
		})
}

// flew says whether an attempt was open at a time, or later.
func (d *delivered) flew(since time.Time) bool { return d.Open != nil || !d.closed.Before(since) }

// enable enables an endpoint. Who does it may ask for a retry in the same moment, while what waits is not yet read.
func (w *world) enable(endpoint string) {
	filter := []string{"&status=held", "&status=exhausted"}[w.rng.IntN(2)]
	delivery := w.delivery(filter + "&endpoint_id=" + endpoint)
	w.enables(endpoint)
	if w.rng.IntN(2) == 0 {
		w.retry(delivery)
	}
}

// replay sends what an endpoint was to get to it, or to another one.
func (w *world) replay() {
	w.ask("POST", "/v1/replays", map[string]any{"select": map[string]any{"endpoint_ids": []string{w.endpoint()}},
		"endpoint_id": w.endpoint(), "reason": "simulated", "ordered": w.rng.IntN(2) == 0})
}

// shown holds all that the API shows of endpoints and deliveries against what the ledger says of them.
func (w *world) shown() {
	if err := w.life.proj.WaitFor(context.Background(), w.life.store.Head()); err != nil {
		w.t.Errorf("the rows do not come to the ledger's end: %v", err)
		return
	}
	endpoints, deliveries := map[string]string{}, map[string]string{}
	w.list("/v1/endpoints", endpoints)
	w.list("/v1/deliveries", deliveries)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.readOn(); err != nil {
		w.t.Errorf("the ledger can't be read: %v", err)
	}
	for id, s := range w.ledger.endpoints.now {
		want, listed := "enabled", id != "" && !s.removed
		if s.disabled {
			want = "disabled"
		}
		if got := endpoints[id]; listed && got != want || !listed && got != "" {
			w.t.Errorf("endpoint %s is shown as %q, and the ledger says %+v", id, got, s)
		}
		delete(endpoints, id)
	}
	for id, d := range w.ledger.deliveries {
		want := string(d.Status)
		if w.ledger.removed(d.endpoint) && !d.Status.Terminal() {
			want = string(domain.StatusCancelled)
		}
		if got := deliveries[id]; got != want {
			w.t.Errorf("a delivery is shown as %q, and the ledger says %s%s", got, want, d.story())
		}
		delete(deliveries, id)
	}
	maps.Copy(deliveries, endpoints)
	if len(deliveries) > 0 {
		w.t.Errorf("the API shows what is not on the ledger: %v", deliveries)
	}
}

// list takes the states of all that a path lists, by id.
func (w *world) list(path string, into map[string]string) {
	for cursor := ""; ; {
		a := w.ask("GET", path+"?limit=250"+cursor, nil)
		var page struct {
			Data       []struct{ ID, Status string }
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal(a.body, &page); err != nil || a.status != http.StatusOK {
			w.t.Errorf("%s is answered %d %s", path, a.status, a.body)
			return
		}
		for _, row := range page.Data {
			into[row.ID] = row.Status
		}
		if page.NextCursor == "" {
			return
		}
		cursor = "&cursor=" + page.NextCursor
	}
}
