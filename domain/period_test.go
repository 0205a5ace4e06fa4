package domain_test

import (
	"testing"
	"time"
	_ "time/tzdata" // time zones are the same on every machine

	"pgregory.net/rapid"

	"hookledger/domain"
)

// zones are some in which midnight is missing, comes twice, or a whole day was left out, beside some plain ones.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
	"America/Havana", "Africa/Cairo", "Asia/Beirut", "Asia/Tehran", "Asia/Gaza", "Asia/Amman", "Atlantic/Azores",
	"America/Asuncion", "America/Santiago", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "Australia/Lord_Howe",
	"Asia/Kathmandu", "America/Scoresbysund"}

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestADayBeginsWithItsFirstInstant: in any zone, whatever its clocks do at midnight.
func TestADayBeginsWithItsFirstInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(0, 2_145_916_800).Draw(t, "at"), 0)
		checkDay(t, domain.DayOf(at, loc), loc)
	})
	// Every transition of every zone, from both sides.
	for _, name := range zones {
		loc := zone(t, name)
		for at := time.Unix(0, 0).In(loc); at.Year() < 2038; {
			_, end := at.ZoneBounds()
			if end.IsZero() {
				break
			}
			checkDay(t, domain.DayOf(end.Add(-1), loc), loc)
			checkDay(t, domain.DayOf(end, loc), loc)
			at = end
		}
	}
}

func checkDay(t interface{ Fatalf(string, ...any) }, d domain.Day, loc *time.Location) {
	start := d.Start(loc)
	if domain.DayOf(start, loc) != d || domain.DayOf(start.Add(-1), loc) == d {
		t.Fatalf("%s: %s begins at %s", loc, d, start.In(loc))
	}
	for ago := time.Minute; ago < 26*time.Hour; ago += 10 * time.Minute {
		before := start.Add(-ago)
		if domain.DayOf(before, loc) == d {
			t.Fatalf("%s: %s began before %s, at %s", loc, d, start.In(loc), before.In(loc))
		}
	}
}

func TestPeriodsBegin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ at, period, zone, want string }{
		{"2026-03-17T00:00:00Z", domain.PeriodDaily, "UTC", "2026-03-17T00:00:00Z"}, // its first instant
		{"2026-03-16T23:59:59.999999999Z", domain.PeriodDaily, "UTC", "2026-03-16T00:00:00Z"},
		{"2026-03-17T12:00:00Z", domain.PeriodMonthly, "UTC", "2026-03-01T00:00:00Z"},
		{"2026-03-01T00:00:00Z", domain.PeriodMonthly, "UTC", "2026-03-01T00:00:00Z"},
		{"2024-02-29T23:00:00Z", domain.PeriodMonthly, "UTC", "2024-02-01T00:00:00Z"},
		{"2026-03-17T12:00:00Z", "", "UTC", "2026-03-17T00:00:00Z"}, // no period is a day
		// The zone's date counts, not the one that the time is written in.
		{"2026-03-17T00:30:00+09:00", domain.PeriodDaily, "UTC", "2026-03-16T00:00:00Z"},
		{"2026-01-01T02:00:00Z", domain.PeriodDaily, "America/New_York", "2025-12-31T05:00:00Z"},
		{"2026-01-01T02:00:00Z", domain.PeriodMonthly, "America/New_York", "2025-12-01T05:00:00Z"},
		{"2026-03-31T18:20:00Z", domain.PeriodMonthly, "Asia/Kathmandu", "2026-03-31T18:15:00Z"},
		// The clocks change within the day, or since the month began.
		{"2026-03-29T21:59:59Z", domain.PeriodDaily, "Europe/Berlin", "2026-03-28T23:00:00Z"}, // of 23 hours
		{"2026-03-29T22:00:00Z", domain.PeriodDaily, "Europe/Berlin", "2026-03-29T22:00:00Z"},
		{"2026-03-31T10:00:00Z", domain.PeriodMonthly, "Europe/Berlin", "2026-02-28T23:00:00Z"},
		{"2026-10-25T22:59:59Z", domain.PeriodDaily, "Europe/Berlin", "2026-10-24T22:00:00Z"}, // of 25 hours
		{"2026-11-02T04:59:59Z", domain.PeriodDaily, "America/New_York", "2026-11-01T04:00:00Z"},
		{"2026-11-01T05:30:00Z", domain.PeriodMonthly, "America/New_York", "2026-11-01T04:00:00Z"},
		{"2018-11-04T12:00:00Z", domain.PeriodDaily, "America/Sao_Paulo", "2018-11-04T03:00:00Z"}, // begins at 1:00
		{"2010-11-07T12:00:00Z", domain.PeriodDaily, "America/St_Johns", "2010-11-07T02:30:00Z"},  // 0:00 comes twice
		{"2010-11-07T03:15:00Z", domain.PeriodDaily, "America/St_Johns", "2010-11-06T02:30:00Z"},  // the day before again
		{"2011-12-30T12:00:00Z", domain.PeriodDaily, "Pacific/Apia", "2011-12-30T10:00:00Z"},      // the 30th was left out
	} {
		at, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		got := domain.PeriodStart(at, c.period, zone(t, c.zone))
		if got.Format(time.RFC3339Nano) != c.want || got.Location() != time.UTC {
			t.Errorf("%s %s in %s begins at %s, want %s", c.period, c.at, c.zone, got, c.want)
		}
	}
	// A day that the zone leaves out has no instant of its own: it begins, and ends, with the next one.
	apia := zone(t, "Pacific/Apia")
	left := domain.DayOf(time.Date(2011, 12, 30, 12, 0, 0, 0, time.UTC), time.UTC)
	if got := left.Start(apia).Format(time.RFC3339); left.String() != "2011-12-30" || got != "2011-12-30T10:00:00Z" {
		t.Errorf("%s begins at %s", left, got)
	}
}
