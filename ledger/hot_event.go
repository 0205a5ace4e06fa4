package ledger

import "hookledger/domain"

func writeEventReceived(w writer, f *domain.EventReceived) writer {
	w = w.str(`{"id":`, f.ID).str(`,"event":`, f.Event).int(`,"schema_version":`, int64(f.SchemaVersion)).
		time(`,"timestamp":`, f.Timestamp).bool(`,"timestamp_given":`, f.TimestampGiven).
		strNonzero(`,"source":`, f.Source)
	if f.Sequence != nil {
		w = w.uint(`,"sequence":`, *f.Sequence)
	}
	return w.str(`,"content_type":`, f.ContentType).sealed(`,"content":`, f.Content).
		int(`,"size":`, int64(f.Size)).lit("}")
}

func readEventReceived(p *parser, f *domain.EventReceived) {
	f.ID = p.str(`{"id":`)
	f.Event = p.word(`,"event":`)
	f.SchemaVersion = int(p.int(`,"schema_version":`))
	f.Timestamp = p.time(`,"timestamp":`)
	f.TimestampGiven = p.bool(`,"timestamp_given":`)
	f.Source = p.strNonzero(`,"source":`)
	if p.at(`,"sequence":`) {
		n := p.uint(`,"sequence":`)
		f.Sequence = &n
	}
	f.ContentType = p.word(`,"content_type":`)
	f.Content = p.sealed(`,"content":`)
	f.Size = int(p.int(`,"size":`))
	p.lit("}")
}

func writeEventRouted(w writer, f *domain.EventRouted) writer {
	w = list(w.ulid(`{"routed_as_of":`, f.RoutedAsOf), `,"matches":`, f.Matches, writeMatch)
	if len(f.LeftOut) > 0 {
		w = list(w, `,"left_out":`, f.LeftOut, writeLeftOut)
	}
	return w.lit("}")
}

func readEventRouted(p *parser, f *domain.EventRouted) {
	f.RoutedAsOf = p.ulid(`{"routed_as_of":`)
	f.Matches = items(p, `,"matches":`, 1, readMatch)
	if p.at(`,"left_out":`) {
		if f.LeftOut = items(p, `,"left_out":`, 1, readLeftOut); f.LeftOut == nil {
			p.fail("omission")
		}
	}
	p.lit("}")
}

func writeMatch(w writer, m *domain.Match) writer {
	return w.str(`{"endpoint":`, m.Endpoint).str(`,"delivery":`, m.Delivery).
		int(`,"endpoint_revision":`, int64(m.EndpointRevision)).lit("}")
}

func readMatch(p *parser, m *domain.Match) {
	m.Endpoint = p.str(`{"endpoint":`)
	m.Delivery = p.str(`,"delivery":`)
	m.EndpointRevision = domain.Revision(p.int(`,"endpoint_revision":`))
	p.lit("}")
}

func writeLeftOut(w writer, l *domain.LeftOut) writer {
	return w.str(`{"endpoint":`, l.Endpoint).str(`,"reason":`, l.Reason).lit("}")
}

func readLeftOut(p *parser, l *domain.LeftOut) {
	l.Endpoint = p.str(`{"endpoint":`)
	l.Reason = p.word(`,"reason":`)
	p.lit("}")
}
