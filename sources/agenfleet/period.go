package agenfleet

import (
	"time"
	_ "time/tzdata" // time zones are the same on every machine, with or without a database of its own

	"hookledger/domain"
)

// Location finds a time zone by its IANA name. "Local" is none: it differs from machine to machine.
func Location(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, domain.Refuse(domain.KindInvalid, "invalid_source", "the source's tz: there is no time zone of that name",
			"name one as the IANA database does, such as UTC, Europe/Berlin or America/New_York")
	}
	return loc, nil
}

// day is a calendar day of some time zone: its noon in UTC, so that days can be compared and counted.
type day struct{ noon time.Time }

func dayOf(t time.Time, loc *time.Location) day {
	y, m, d := t.In(loc).Date()
	return day{time.Date(y, m, d, 12, 0, 0, 0, time.UTC)}
}

func (d day) after(other day) bool { return d.noon.After(other.noon) }

// month is the first day of the day's month.
func (d day) month() day {
	return day{time.Date(d.noon.Year(), d.noon.Month(), 1, 12, 0, 0, 0, time.UTC)}
}

// start is the first instant that the zone dates with this day. Where clocks are put forward at midnight, it is not
// 0:00; where they are put back across midnight, it is the first of two.
func (d day) start(loc *time.Location) time.Time {
	midnight := d.noon.Add(-12 * time.Hour)
	local := time.Date(midnight.Year(), midnight.Month(), midnight.Day(), 0, 0, 0, 0, loc)
	begins, ends := local.ZoneBounds()
	candidates := []time.Time{begins, ends}
	for _, at := range []time.Time{local, begins.Add(-1), ends} {
		if !at.IsZero() {
			_, offset := at.In(loc).Zone()
			candidates = append(candidates, midnight.Add(-time.Duration(offset)*time.Second))
		}
	}
	first := local
	found := false
	for _, c := range candidates {
		if c.IsZero() || dayOf(c, loc) != d || dayOf(c.Add(-1), loc) == d {
			continue
		}
		if !found || c.Before(first) {
			first, found = c, true
		}
	}
	return first.UTC()
}

// periodOf is the first day of the period that the day is in.
func periodOf(d day, period string) day {
	if period == "monthly" {
		return d.month()
	}
	return d
}
