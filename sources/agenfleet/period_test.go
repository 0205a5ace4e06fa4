package agenfleet

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"hookledger/domain"
)

// zones are some in which midnight is missing, comes twice, or a whole day was left out, beside some plain ones.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
	"America/Havana", "Africa/Cairo", "Asia/Beirut", "Asia/Tehran", "Asia/Gaza", "Asia/Amman", "Atlantic/Azores",
	"America/Asuncion", "America/Santiago", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "Australia/Lord_Howe",
	"Asia/Kathmandu", "America/Scoresbysund"}

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	loc, err := Location(name)
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
		checkDay(t, dayOf(at, loc), loc)
	})
	// Every transition of every zone, from both sides.
	for _, name := range zones {
		loc := zone(t, name)
		for at := time.Unix(0, 0).In(loc); at.Year() < 2038; {
			_, end := at.ZoneBounds()
			if end.IsZero() {
				break
			}
			checkDay(t, dayOf(end.Add(-1), loc), loc)
			checkDay(t, dayOf(end, loc), loc)
			at = end
		}
	}
}

func checkDay(t interface{ Fatalf(string, ...any) }, d day, loc *time.Location) {
	start := d.start(loc)
	if dayOf(start, loc) != d || dayOf(start.Add(-1), loc) == d {
		t.Fatalf("%s: %s begins at %s", loc, d.noon.Format(time.DateOnly), start.In(loc))
	}
	for ago := time.Minute; ago < 26*time.Hour; ago += 10 * time.Minute {
		before := start.Add(-ago)
		if dayOf(before, loc) == d {
			t.Fatalf("%s: %s began before %s, at %s", loc, d.noon.Format(time.DateOnly), start.In(loc), before.In(loc))
		}
	}
}

func TestKnownDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, day, want string }{
		{"UTC", "2026-03-17", "2026-03-17T00:00:00Z"},
		{"Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z"},     // an hour is missing, later
		{"Europe/Berlin", "2026-03-30", "2026-03-29T22:00:00Z"},     // 23 hours on
		{"America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"}, // midnight is missing: it begins at 1:00
		{"America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z"},  // midnight comes twice
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"},      // the 30th was left out
	} {
		loc := zone(t, c.zone)
		noon, err := time.ParseInLocation(time.DateOnly+" 15:04", c.day+" 12:00", loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := dayOf(noon, loc).start(loc).Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s begins at %s, want %s", c.day, c.zone, got, c.want)
		}
	}
	d := dayOf(time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC), zone(t, "America/New_York"))
	if got := d.month().start(zone(t, "America/New_York")).Format(time.RFC3339); got != "2025-12-01T05:00:00Z" {
		t.Errorf("the month began at %s", got)
	}
	for _, name := range []string{"", "Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := Location(name); domain.Code(err) != "invalid_source" {
			t.Errorf("%q: %v", name, err)
		}
	}
}
