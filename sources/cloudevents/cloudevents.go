package cloudevents

import (
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hookledger/domain"
	"hookledger/ingest"
)

// mediaType of the structured content mode; a batch has "-batch" in it.
const (
	mediaType      = "application/cloudevents+json"
	mediaTypeBatch = "application/cloudevents-batch+json"
	specVersion    = "1.0"
)

// Is says whether a request carries a CloudEvent, in whichever mode.
func Is(h http.Header) bool {
	return h.Get("Ce-Specversion") != "" || h.Get("Ce-Id") != "" ||
		strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/cloudevents")
}

// Post makes a post of a request's headers and body. The post keeps parts of body, which must not be changed any more.
// Tenant, Actor and IdempotencyKey are the caller's to set. Errors are *domain.Error and name the attribute.
func Post(h http.Header, body []byte, tenant string) (ingest.Post, error) {
	if len(body) > domain.MaxBody {
		return ingest.Post{}, domain.Refuse(domain.KindTooLarge, "body_too_large",
			"the body has "+strconv.Itoa(len(body))+" bytes", "send at most "+strconv.Itoa(domain.MaxBody)+" bytes")
	}
	content, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil && h.Get("Content-Type") != "" {
		return ingest.Post{}, refuse("datacontenttype", "is no content type", "send Content-Type: application/json")
	}
	var a attributes
	switch {
	case content == mediaTypeBatch:
		return ingest.Post{}, refuse("content type", "is that of a batch",
			"send each event by itself, or hookledger's own form to POST /v1/events/batch")
	case content == mediaType:
		a, err = structured(body)
	case strings.HasPrefix(content, "application/cloudevents"):
		return ingest.Post{}, refuse("content type", "is "+content, "send "+mediaType)
	default:
		a, err = binary(h, content, body)
	}
	if err != nil {
		return ingest.Post{}, err
	}
	return a.post(tenant)
}

// refuse is a refusal of an attribute.
func refuse(attribute, detail, fix string) error {
	return domain.Refuse(domain.KindInvalid, "invalid_cloudevent", "the CloudEvent's "+attribute+" "+detail, fix)
}

// attributes of a CloudEvent; nil: it has none of the name.
type attributes struct {
	values map[string]*string
	data   []byte
}

func (a *attributes) get(name string) string {
	if v := a.values[name]; v != nil {
		return *v
	}
	return ""
}

// binary takes the attributes from headers, where they are percent-encoded (CloudEvents HTTP binding, 3.1.3.2).
func binary(h http.Header, content string, body []byte) (attributes, error) {
	a := attributes{values: map[string]*string{"datacontenttype": &content}, data: body}
	for name, values := range h {
		attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-")
		if !ok {
			continue
		}
		if len(values) > 1 {
			return a, refuse(attribute, "is given twice", "send the header "+strings.ToLower(name)+" once")
		}
		v, err := url.PathUnescape(values[0])
		if err != nil {
			return a, refuse(attribute, "is not percent-encoded rightly", "encode % as %25")
		}
		a.values[attribute] = &v
	}
	return a, nil
}

// structured takes the attributes from the body's fields, and data byte for byte.
func structured(body []byte) (attributes, error) {
	a := attributes{values: map[string]*string{}}
	fields, err := ingest.ParseObject(body)
	if err != nil {
		return a, err
	}
	for name, raw := range fields {
		switch name {
		case "data":
			a.data = raw
		case "data_base64":
			if err := json.Unmarshal(raw, &a.data); err != nil {
				return a, refuse(name, "is no base64", "send data as a JSON object")
			}
		default:
			var v any
			if err := json.Unmarshal(raw, &v); err != nil {
				return a, refuse(name, "can't be read", "send a text")
			}
			switch v := v.(type) {
			case string:
				a.values[name] = &v
			case float64, bool:
				s := string(raw)
				a.values[name] = &s
			case nil:
			default:
				return a, refuse(name, "is an object or a list", "attributes are texts, numbers, true or false")
			}
		}
	}
	return a, nil
}

func (a *attributes) post(tenant string) (ingest.Post, error) {
	var p ingest.Post
	switch v := a.get("specversion"); {
	case v == "":
		return p, refuse("specversion", "is missing", "send "+specVersion)
	case v != specVersion:
		return p, refuse("specversion", "is not known", "send "+specVersion)
	}
	for _, name := range []string{"id", "source", "type"} {
		if a.get(name) == "" {
			return p, refuse(name, "is missing", "every CloudEvent has an id, a source and a type")
		}
	}
	if !domain.ValidEventType(a.get("type")) {
		return p, refuse("type", "is no event type of ours", "use words of a-z 0-9 _ separated by dots, such as order.paid")
	}
	if t := a.get("datacontenttype"); t != "" && t != "application/json" && !strings.HasSuffix(t, "+json") {
		return p, refuse("datacontenttype", "is not JSON", "send data as a JSON object, as application/json")
	}
	if len(a.data) == 0 {
		return p, refuse("data", "is missing", "send a JSON object; {} if there is nothing to say")
	}
	p.Event, p.Source, p.Subject, p.Data = a.get("type"), a.get("source"), a.get("subject"), a.data
	p.ID = EventID(tenant, p.Source, a.get("id"))
	if v := a.get("time"); v != "" {
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return p, refuse("time", "is no RFC 3339 time", "write it like 2026-03-17T08:00:00Z")
		}
		t = t.UTC()
		p.Timestamp = &t
	}
	if n, err := strconv.ParseUint(a.get("sequence"), 10, 64); err == nil {
		p.Sequence = &n
	}
	return p, nil
}

// unique are ids that no two sources give: UUIDs and ULIDs, the latter with a prefix too.
var unique = regexp.MustCompile(
	`^(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?:[a-z]{1,16}_)?[0-7][0-9A-HJKMNP-TV-Z]{25})$`)

// EventID is the id of the event that a CloudEvent becomes.
func EventID(tenant, source, id string) string {
	if unique.MatchString(id) {
		return id
	}
	return domain.NewID(domain.PrefixEvent, domain.DerivedID(time.Time{}, "cloudevent", tenant, source, id))
}
