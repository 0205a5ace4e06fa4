package ledger

import "hookledger/domain"

func writeResponseReceived(w writer, f *domain.ResponseReceived) writer {
	w = w.str(`{"attempt":`, f.Attempt).int(`,"status":`, int64(f.Status)).sealed(`,"content":`, f.Content).
		flag(`,"truncated":true`, f.Truncated).str(`,"remote_addr":`, f.RemoteAddr)
	if f.TLS != nil {
		w = w.str(`,"tls":{"version":`, f.TLS.Version).str(`,"cipher":`, f.TLS.Cipher).
			str(`,"server_name":`, f.TLS.ServerName).str(`,"issuer":`, f.TLS.Issuer).
			time(`,"not_after":`, f.TLS.NotAfter).str(`,"fingerprint":`, f.TLS.Fingerprint).lit("}")
	}
	w = w.timings(`,"timings":`, &f.Timings)
	if f.RetryAfter != 0 {
		w = w.duration(`,"retry_after":`, f.RetryAfter)
	}
	return w.flag(`,"late":true`, f.Late).flag(`,"unconfirmed":true`, f.Unconfirmed).lit("}")
}

func readResponseReceived(p *parser, f *domain.ResponseReceived) {
	f.Attempt = p.str(`{"attempt":`)
	f.Status = int(p.int(`,"status":`))
	f.Content = p.sealed(`,"content":`)
	f.Truncated = p.has(`,"truncated":true`)
	f.RemoteAddr = p.str(`,"remote_addr":`)
	if p.at(`,"tls":`) {
		f.TLS = &domain.TLSFacts{Version: p.word(`,"tls":{"version":`), Cipher: p.str(`,"cipher":`),
			ServerName: p.str(`,"server_name":`), Issuer: p.str(`,"issuer":`), NotAfter: p.time(`,"not_after":`),
			Fingerprint: p.str(`,"fingerprint":`)}
		p.lit("}")
	}
	p.timings(`,"timings":`, &f.Timings)
	if p.at(`,"retry_after":`) {
		if f.RetryAfter = p.duration(`,"retry_after":`); f.RetryAfter == 0 {
			p.fail("omission")
		}
	}
	f.Late = p.has(`,"late":true`)
	f.Unconfirmed = p.has(`,"unconfirmed":true`)
	p.lit("}")
}

// Each of the phases can be absent, so the comma goes to what comes behind.
func (w writer) timings(key string, t *domain.Timings) writer {
	return w.lit(key).lit("{").phase(`"dns_us":`, t.DNS).phase(`"connect_us":`, t.Connect).phase(`"tls_us":`, t.TLS).
		phase(`"first_byte_us":`, t.FirstByte).int(`"total_us":`, t.Total).lit("}")
}

func (w writer) phase(key string, n int64) writer {
	if n == 0 {
		return w
	}
	return w.int(key, n).lit(",")
}

func (p *parser) timings(key string, t *domain.Timings) {
	p.lit(key)
	p.lit("{")
	t.DNS = p.phase(`"dns_us":`)
	t.Connect = p.phase(`"connect_us":`)
	t.TLS = p.phase(`"tls_us":`)
	t.FirstByte = p.phase(`"first_byte_us":`)
	t.Total = p.int(`"total_us":`)
	p.lit("}")
}

func (p *parser) phase(key string) int64 {
	n := p.intNonzero(key)
	if n != 0 {
		p.lit(",")
	}
	return n
}

func writeAttemptFailed(w writer, f *domain.AttemptFailed) writer {
	w = w.str(`{"attempt":`, f.Attempt).str(`,"phase":`, f.Phase).str(`,"code":`, string(f.Code))
	if f.Content != nil {
		w = w.sealed(`,"content":`, f.Content)
	}
	return w.str(`,"sent":`, f.Sent).strNonzero(`,"remote_addr":`, f.RemoteAddr).timings(`,"timings":`, &f.Timings).
		flag(`,"late":true`, f.Late).lit("}")
}

func readAttemptFailed(p *parser, f *domain.AttemptFailed) {
	f.Attempt = p.str(`{"attempt":`)
	f.Phase = p.word(`,"phase":`)
	f.Code = domain.ErrorCode(p.word(`,"code":`))
	if p.at(`,"content":`) {
		if f.Content = p.sealed(`,"content":`); f.Content == nil {
			p.fail("omission")
		}
	}
	f.Sent = p.word(`,"sent":`)
	f.RemoteAddr = p.strNonzero(`,"remote_addr":`)
	p.timings(`,"timings":`, &f.Timings)
	f.Late = p.has(`,"late":true`)
	p.lit("}")
}

func writeAttemptInterrupted(w writer, f *domain.AttemptInterrupted) writer {
	return w.str(`{"attempt":`, f.Attempt).str(`,"reason":`, f.Reason).lit("}")
}

func readAttemptInterrupted(p *parser, f *domain.AttemptInterrupted) {
	f.Attempt = p.str(`{"attempt":`)
	f.Reason = p.word(`,"reason":`)
	p.lit("}")
}
