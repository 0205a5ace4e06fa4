package ledger

import "hookledger/domain"

func writeDeliveryScheduled(w writer, f *domain.DeliveryScheduled) writer {
	w = w.str(`{"event":`, f.Event).str(`,"endpoint":`, f.Endpoint).str(`,"cause":`, f.Cause)
	return list(w, `,"policy":{"schedule":`, f.Policy.Schedule, writeStep).float(`,"jitter":`, f.Policy.Jitter).
		time(`},"due_at":`, f.DueAt).lit("}")
}

func readDeliveryScheduled(p *parser, f *domain.DeliveryScheduled) {
	f.Event = p.str(`{"event":`)
	f.Endpoint = p.str(`,"endpoint":`)
	f.Cause = p.word(`,"cause":`)
	f.Policy.Schedule = items(p, `,"policy":{"schedule":`, 10, readStep)
	f.Policy.Jitter = p.float(`,"jitter":`)
	f.DueAt = p.time(`},"due_at":`)
	p.lit("}")
}

func writeStep(w writer, d *domain.Duration) writer { return w.duration("", *d) }

func readStep(p *parser, d *domain.Duration) { *d = p.duration("") }

func writeAttemptStarted(w writer, f *domain.AttemptStarted) writer {
	w = w.str(`{"attempt":`, f.Attempt).int(`,"n":`, int64(f.N)).
		int(`,"endpoint_revision":`, int64(f.EndpointRevision)).str(`,"trigger":`, string(f.Trigger)).
		flag(`,"forced":true`, f.Forced).str(`,"method":`, f.Method).str(`,"host":`, f.Host)
	w = list(w, `,"headers":`, f.Headers, writeHeader).duration(`,"timeout":`, f.Timeout).
		time(`,"started_at":`, f.StartedAt).str(`,"node":`, f.Node).strNonzero(`,"endpoint":`, f.Endpoint)
	if f.Content != nil {
		w = w.sealed(`,"content":`, f.Content)
	}
	return w.lit("}")
}

func readAttemptStarted(p *parser, f *domain.AttemptStarted) {
	f.Attempt = p.str(`{"attempt":`)
	f.N = int(p.int(`,"n":`))
	f.EndpointRevision = domain.Revision(p.int(`,"endpoint_revision":`))
	f.Trigger = domain.Trigger(p.word(`,"trigger":`))
	f.Forced = p.has(`,"forced":true`)
	f.Method = p.word(`,"method":`)
	f.Host = p.str(`,"host":`)
	f.Headers = items(p, `,"headers":`, 4, readHeader)
	f.Timeout = p.duration(`,"timeout":`)
	f.StartedAt = p.time(`,"started_at":`)
	f.Node = p.str(`,"node":`)
	f.Endpoint = p.strNonzero(`,"endpoint":`)
	if p.at(`,"content":`) {
		if f.Content = p.sealed(`,"content":`); f.Content == nil {
			p.fail("omission")
		}
	}
	p.lit("}")
}

func writeHeader(w writer, h *domain.Header) writer {
	return w.str(`{"name":`, h.Name).str(`,"value":`, h.Value).lit("}")
}

func readHeader(p *parser, h *domain.Header) {
	h.Name = p.word(`{"name":`)
	h.Value = p.word(`,"value":`)
	p.lit("}")
}

func writeRequestSigned(w writer, f *domain.RequestSigned) writer {
	w = w.str(`{"attempt":`, f.Attempt).str(`,"scheme":`, f.Scheme)
	return list(w, `,"key_ids":`, f.KeyIDs, writeString).str(`,"webhook_id":`, f.WebhookID).
		int(`,"webhook_timestamp":`, f.WebhookTimestamp).str(`,"signatures":`, f.Signatures).lit("}")
}

func readRequestSigned(p *parser, f *domain.RequestSigned) {
	f.Attempt = p.str(`{"attempt":`)
	f.Scheme = p.word(`,"scheme":`)
	f.KeyIDs = items(p, `,"key_ids":`, 1, readString)
	f.WebhookID = p.str(`,"webhook_id":`)
	f.WebhookTimestamp = p.int(`,"webhook_timestamp":`)
	f.Signatures = p.str(`,"signatures":`)
	p.lit("}")
}

func writeString(w writer, s *string) writer { return w.str("", *s) }

func readString(p *parser, s *string) { *s = p.str("") }

func writeRetryScheduled(w writer, f *domain.RetryScheduled) writer {
	return w.int(`{"n":`, int64(f.N)).time(`,"due_at":`, f.DueAt).duration(`,"backoff":`, f.Backoff).
		flag(`,"retry_after_taken":true`, f.RetryAfterTaken).lit("}")
}

func readRetryScheduled(p *parser, f *domain.RetryScheduled) {
	f.N = int(p.int(`{"n":`))
	f.DueAt = p.time(`,"due_at":`)
	f.Backoff = p.duration(`,"backoff":`)
	f.RetryAfterTaken = p.has(`,"retry_after_taken":true`)
	p.lit("}")
}

func writeDeliverySucceeded(w writer, f *domain.DeliverySucceeded) writer {
	return w.str(`{"attempt":`, f.Attempt).int(`,"attempts":`, int64(f.Attempts)).lit("}")
}

func readDeliverySucceeded(p *parser, f *domain.DeliverySucceeded) {
	f.Attempt = p.str(`{"attempt":`)
	f.Attempts = int(p.int(`,"attempts":`))
	p.lit("}")
}
