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
