package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

var (
	// apiPlace is where the API found something wrong, such as "query.code_class:" or "body.select.status[0]:".
	apiPlace = regexp.MustCompile(`\b(?:body|query)\.(?:[a-z_]+\.)*([a-z_]+)(?:\[\d+\])?:`)
	// apiField is a name of the API's that can be no word of a sentence.
	apiField = regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
)

// otherFlags are the flags that are not called as the API's field is.
var otherFlags = map[string][]string{
	"code_class": {"code"}, "endpoint_ids": {"endpoint-id"}, "event_ids": {"event-id"},
	"event_types": {"event", "events"}, "gap_factor": {"gaps"},
}

// inFlags says with the command's flags what the API says with its fields: who types flags must not look fields up.
func inFlags(cmd *cobra.Command, said string) string {
	flagOf := func(field string) string {
		for _, name := range append([]string{strings.ReplaceAll(field, "_", "-")}, otherFlags[field]...) {
			if cmd.Flags().Lookup(name) != nil {
				return "--" + name
			}
		}
		return ""
	}
	said = apiPlace.ReplaceAllStringFunc(said, func(place string) string {
		if flag := flagOf(apiPlace.FindStringSubmatch(place)[1]); flag != "" {
			return flag + ":"
		}
		return place
	})
	return apiField.ReplaceAllStringFunc(said, func(field string) string {
		if flag := flagOf(field); flag != "" {
			return flag
		}
		return field
	})
}
