package domain

import (
	"encoding/json"
	"time"
)

// Envelope is an event as it is delivered.
type Envelope struct {
	ID        string          `json:"id"`
	Event     string          `json:"event"`
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// Bytes is the body of every request about the event: {"id","event","timestamp","data"} in that order, data exactly as
// the producer sent it. The id and the type need no escaping by their grammar.
func (e *Envelope) Bytes() []byte {
	b := make([]byte, 0, len(e.ID)+len(e.Event)+len(e.Data)+96)
	b = append(b, `{"id":"`...)
	b = append(b, e.ID...)
	b = append(b, `","event":"`...)
	b = append(b, e.Event...)
	b = append(b, `","timestamp":"`...)
	b = e.Timestamp.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	return append(b, '}')
}
