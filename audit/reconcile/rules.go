package reconcile

import (
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones are the same on every machine

	"hookledger/domain"
)

// Defaults and bounds of rules.
const (
	DefaultLateAfter = 5 * time.Minute
	MaxLateAfter     = 31 * 24 * time.Hour
	MaxNumbers       = 10_000_000 // that are looked through for gaps
	MaxSelected      = 1000       // agents, endpoints or types that are named
)

// DefaultTypes are the budget events.
func DefaultTypes() []string { return []string{"agent.budget_alert", "agent.budget_exhausted"} }

func refuse(code, detail, fix string) error {
	return domain.Refuse(domain.KindInvalid, code, detail, fix)
}

// Location finds a time zone by its IANA name.
func Location(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, refuse("invalid_tz", "tz: there is no time zone "+strconv.Quote(short(name)),
			"name one as the IANA database does, such as UTC or Europe/Berlin")
	}
	return loc, nil
}

// Check fills in what is left out, and says what is wrong.
func Check(r *domain.ReconciliationRules) error {
	if r.By == "" {
		r.By = domain.ByReceived
	}
	if r.TimeZone == "" {
		r.TimeZone = "UTC"
	}
	if r.Tolerance == "" {
		r.Tolerance = "0"
	}
	if len(r.EventTypes) == 0 {
		r.EventTypes = DefaultTypes()
	}
	if _, err := Location(r.TimeZone); err != nil {
		return err
	}
	r.From, r.To = r.From.UTC().Truncate(time.Microsecond), r.To.UTC().Truncate(time.Microsecond) // as rows have times
	tolerance, ok := ParseDecimal(r.Tolerance)
	switch {
	case !ok:
		return refuse("invalid_tolerance", "tolerance: "+strconv.Quote(short(r.Tolerance))+" is no amount",
			"write a plain decimal such as 0.01")
	case r.From.IsZero() || r.To.IsZero():
		return refuse("no_period", "the period is missing", "give from and to, or a month or day as period")
	case !r.From.Before(r.To):
		return refuse("empty_range", "from is not before to", "swap them")
	case r.By != domain.ByReceived && r.By != domain.ByEvent:
		return refuse("invalid_by", "by: "+strconv.Quote(short(r.By))+" is no rule",
			"use received: when it came to us; or event: when it happened")
	case r.LateAfter < 0 || time.Duration(r.LateAfter) > MaxLateAfter:
		return refuse("invalid_late_after", "late_after: "+r.LateAfter.String()+" is out of range", "use 0s to 744h")
	}
	r.Tolerance = tolerance.String()
	slices.Sort(r.EventTypes)
	slices.Sort(r.Endpoints)
	r.EventTypes, r.Endpoints = slices.Compact(r.EventTypes), slices.Compact(r.Endpoints)
	if len(r.EventTypes) > MaxSelected || len(r.Endpoints) > MaxSelected {
		return refuse("too_many", "more than "+strconv.Itoa(MaxSelected)+" types or endpoints are named", "name fewer")
	}
	if n := r.Numbered; n != nil {
		switch {
		case n.Source == "":
			return refuse("invalid_range", "the numbers are of no source", "name the source as its posts do")
		case n.From > n.To:
			return refuse("empty_range", "the numbers end before they begin", "swap them")
		case n.To-n.From >= MaxNumbers:
			return refuse("range_too_large", "the range has more than "+strconv.Itoa(MaxNumbers)+" numbers",
				"ask for a part of it")
		}
	}
	return checkAgainst(r)
}

func checkAgainst(r *domain.ReconciliationRules) error {
	switch r.Against {
	case "", domain.AgainstBilling:
	case domain.AgainstAgenFleet:
		if r.Source == "" {
			return refuse("no_source", "it is not said which source read the costs",
				"name it; list them with: hookledger source list")
		}
	case domain.AgainstReceiver:
		if len(r.Endpoints) != 1 {
			return refuse("no_endpoint", "it is not said which endpoint the receiver's list is of",
				"name that one endpoint; list them with: hookledger endpoint list")
		}
	default:
		return refuse("invalid_against", "against: "+strconv.Quote(short(r.Against))+" is nothing to compare with",
			"use billing, agenfleet or receiver")
	}
	if r.Source != "" && r.Against != domain.AgainstAgenFleet {
		return refuse("invalid_against", "a source is named, and the comparison is not with AgenFleet",
			"leave it out, or compare with agenfleet")
	}
	return nil
}

// Period reads a month or a day, "2026-03" or "2026-03-17", as it is in a time zone.
func Period(s, tz string) (from, to time.Time, err error) {
	loc, err := Location(tz)
	if err != nil {
		return from, to, err
	}
	if t, err := time.Parse("2006-01", s); err == nil {
		return midnight(t, loc), midnight(t.AddDate(0, 1, 0), loc), nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return midnight(t, loc), midnight(t.AddDate(0, 0, 1), loc), nil
	}
	return from, to, refuse("invalid_period", "period: "+strconv.Quote(short(s))+" is no month or day",
		"write it like 2026-03 or 2026-03-17, or give from and to")
}

// midnight is when a date, one that was read without a zone, begins in a time zone.
func midnight(date time.Time, loc *time.Location) time.Time {
	return domain.DayOf(date, time.UTC).Start(loc)
}

// short cuts what is quoted in an error.
func short(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
