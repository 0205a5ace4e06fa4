package domain

import "time"

// Day is a calendar day of some time zone: its noon in UTC, so that days can be compared and counted.
type Day struct{ noon time.Time }

// DayOf is the day on which a time zone dates a time.
func DayOf(t time.Time, loc *time.Location) Day { return dayOn(t.In(loc).Date()) }

func dayOn(y int, m time.Month, d int) Day { return Day{time.Date(y, m, d, 12, 0, 0, 0, time.UTC)} }

// String is its date.
func (d Day) String() string { return d.noon.Format(time.DateOnly) }

// After says whether the day comes behind the other.
func (d Day) After(other Day) bool { return d.noon.After(other.noon) }

// Month is the first day of the day's month.
func (d Day) Month() Day { return dayOn(d.noon.Year(), d.noon.Month(), 1) }

// Period is the first day of the period that the day is in: of its month where the period is monthly, else itself.
func (d Day) Period(period string) Day {
	if period == PeriodMonthly {
		return d.Month()
	}
	return d
}

// Lengths of periods.
const (
	PeriodDaily   = "daily"
	PeriodMonthly = "monthly"
)

// Start is the first instant that the zone dates with this day, or with a later one where it leaves the day out. Where
// clocks are put forward at midnight, it is not 0:00; where they are put back across midnight, it is the first of two.
func (d Day) Start(loc *time.Location) time.Time {
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
		if c.IsZero() || d.After(DayOf(c, loc)) || !d.After(DayOf(c.Add(-1), loc)) {
			continue
		}
		if !found || c.Before(first) {
			first, found = c, true
		}
	}
	return first.UTC()
}

// PeriodStart is when the period that a time is in begins, in a time zone.
func PeriodStart(t time.Time, period string, loc *time.Location) time.Time {
	return DayOf(t, loc).Period(period).Start(loc)
}
