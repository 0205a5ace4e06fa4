package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hookledger/domain"
)

// Formats of files.
const (
	FormatCSV    = "csv"
	FormatNDJSON = "ndjson"
)

// MaxFile is the size of a file that can be compared with, in bytes.
const MaxFile = 8 << 20

// File is what somebody else says, read.
type File struct {
	SHA256 string // of its bytes, hex
	Rows   int

	against string
	billing []billingRow
	byEvent bool // billing names events, and not only running totals
	ids     []receiverRow
}

func (f *File) comparison() other {
	if f.against == domain.AgainstReceiver {
		return newReceiver(f)
	}
	if f.byEvent {
		return newBillingByEvent(f)
	}
	return newBillingByAccount(f)
}

// Columns of the files. Those of billing that need not be there stand in the second list.
var (
	billingColumns  = []string{"agent_id", "period", "period_start", "unit", "spent"}
	eventColumns    = []string{"event_id", "unit", "spent"}
	billingOptional = []string{"event_id", "event", "agent_id", "period", "period_start", "currency", "received_at"}
	receiverColumns = []string{"webhook_id"}
	receiverOption  = []string{"received_at"}
)

// billingRow is a row of billing's file; what it leaves out is empty.
type billingRow struct {
	row      int
	event    string
	kind     string // the event's type
	agent    string
	period   string
	start    time.Time
	unit     string
	currency string
	spent    Decimal
	received time.Time
}

// receiverRow is a row of a receiver's list.
type receiverRow struct {
	row      int
	id       string
	received time.Time
}

// ReadFile reads what the ledger is to be compared with: all of it, or an error that names the first row and field that
// is wrong, and what to do about it. tz is that of dates without a time.
func ReadFile(against, format, tz string, raw []byte) (*File, error) {
	loc, err := Location(tz)
	if err != nil {
		return nil, err
	}
	switch {
	case against != domain.AgainstBilling && against != domain.AgainstReceiver:
		return nil, refuse("invalid_against", "a file is given, and nothing to compare it with",
			"say whether it is billing's or a receiver's")
	case len(raw) > MaxFile:
		return nil, domain.Refuse(domain.KindTooLarge, "file_too_large", "the file is over "+strconv.Itoa(MaxFile>>20)+" MiB",
			"reconcile a shorter period at a time")
	case !utf8.Valid(raw):
		return nil, refuse("invalid_file", "the file is not UTF-8", "export it as UTF-8")
	}
	sum := sha256.Sum256(raw)
	f := &File{SHA256: hex.EncodeToString(sum[:]), against: against}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	var t table
	switch format {
	case FormatCSV:
		t, err = newCSV(raw)
	case FormatNDJSON:
		t = newNDJSON(raw)
	default:
		err = refuse("invalid_format", "format: "+strconv.Quote(short(format))+" is no format", "use csv or ndjson")
	}
	if err != nil {
		return nil, err
	}
	for t.next() {
		f.Rows++
		r := &row{table: t, loc: loc}
		if against == domain.AgainstReceiver {
			f.receiver(r)
		} else {
			f.bill(r)
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	if err := t.failed(); err != nil {
		return nil, err
	}
	if f.Rows == 0 && format == FormatNDJSON {
		return nil, refuse("empty_file", "the file has no rows", "check that it is the right one; a CSV of only its "+
			"first line says that there is nothing")
	}
	return f, nil
}

// bill reads a row of billing's.
func (f *File) bill(r *row) {
	if f.Rows == 1 {
		f.byEvent = r.has("event_id")
	}
	if f.byEvent != r.has("event_id") {
		r.wrong("event_id", "is missing, and other rows have it", "name the event in every row, or in none")
	}
	need, allowed := billingColumns, append(slices.Clone(billingColumns), billingOptional...)
	if f.byEvent {
		need = eventColumns
	}
	r.columns(need, allowed)
	b := billingRow{row: r.number(), event: r.text("event_id", f.byEvent), kind: r.text("event", false),
		agent:  r.text("agent_id", !f.byEvent),
		period: r.oneOf("period", !f.byEvent, domain.PeriodDaily, domain.PeriodMonthly),
		start:  r.time("period_start", !f.byEvent), unit: r.oneOf("unit", true, "tokens", "money"),
		currency: r.text("currency", false), spent: r.amount("spent"), received: r.time("received_at", false)}
	switch {
	case r.err != nil:
	case b.unit == "money" && b.currency == "":
		r.wrong("currency", "is missing", "name the currency of money as ISO 4217 does, such as USD")
	case b.currency != "" && !domain.ValidCurrency(b.currency):
		r.wrong("currency", strconv.Quote(short(b.currency))+" is no currency", "use three capital letters, such as USD")
	case b.unit == "tokens" && b.currency != "":
		r.wrong("currency", "is given for tokens", "leave it empty, or make the unit money")
	}
	f.billing = append(f.billing, b)
}

func (f *File) receiver(r *row) {
	r.columns(receiverColumns, append(slices.Clone(receiverColumns), receiverOption...))
	f.ids = append(f.ids, receiverRow{row: r.number(), id: r.text("webhook_id", true),
		received: r.time("received_at", false)})
}

// table yields the rows of a file.
type table interface {
	next() bool
	failed() error
	number() int
	names() []string          // of the fields of this row
	field(name string) string // trimmed; empty: it has none
}

// row reads the fields of a row; the first thing that is wrong stays in err.
type row struct {
	table
	loc *time.Location
	err error
}

func (r *row) has(name string) bool { return slices.Contains(r.names(), name) }

func (r *row) wrong(field, what, fix string) {
	if r.err == nil {
		r.err = refuse("invalid_row", "row "+strconv.Itoa(r.number())+", "+field+": "+what, fix)
	}
}

// columns checks that all that must be there are, and nothing else.
func (r *row) columns(need, allowed []string) {
	for _, name := range need {
		if !r.has(name) {
			r.wrong(name, "there is no such column", "give the columns "+strings.Join(need, ", ")+
				"; and where there are any, "+strings.Join(rest(allowed, need), ", "))
		}
	}
	for _, name := range r.names() {
		if !slices.Contains(allowed, name) {
			r.wrong(strconv.Quote(short(name)), "is none of the columns", "rename it to one of "+
				strings.Join(slices.Compact(sortedText(allowed)), ", ")+", or take it out")
		}
	}
}

func rest(all, without []string) []string {
	out := slices.DeleteFunc(sortedText(all), func(s string) bool { return slices.Contains(without, s) })
	return slices.Compact(out)
}

func sortedText(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

func (r *row) text(name string, needed bool) string {
	v := r.field(name)
	switch {
	case v == "" && needed:
		r.wrong(name, "is empty", "fill it in, or take the row out")
	case len(v) > 256:
		r.wrong(name, "is longer than 256 bytes", "check the row for a missing quote or comma")
	}
	return v
}

func (r *row) oneOf(name string, needed bool, values ...string) string {
	v := r.text(name, needed)
	if v != "" && !slices.Contains(values, v) {
		r.wrong(name, strconv.Quote(short(v))+" is not known", "use "+strings.Join(values, " or "))
	}
	return v
}

func (r *row) amount(name string) Decimal {
	v := r.text(name, true)
	d, ok := ParseDecimal(v)
	if !ok {
		r.wrong(name, strconv.Quote(short(v))+" is no amount",
			"write a plain decimal such as 1234.50: a point, no thousands separators, no currency, no sign")
	}
	return d
}

func (r *row) time(name string, needed bool) time.Time {
	v := r.text(name, needed)
	if v == "" {
		return time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t.UTC()
	}
	t, err := time.Parse(time.DateOnly, v)
	if err != nil {
		r.wrong(name, strconv.Quote(short(v))+" is no time", "write it like 2026-03-01T00:00:00Z, or like 2026-03-01")
		return time.Time{}
	}
	return midnight(t, r.loc)
}
