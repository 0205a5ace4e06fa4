package main

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

var (
	// apiPlace is where the API found something wrong, such as "query.code_class:" or "body.select.status[0]:".
	apiPlace = regexp.MustCompile(`\b(?:body|query)\.(?:[a-z_]+\.)*([a-z_]+)(?:\[\d+\])?:`)
	// apiPart is a field of what an endpoint's kind needs, such as "email.from".
	apiPart = regexp.MustCompile(`\b(?:email|telegram)\.([a-z]+(?:_[a-z]+)*)\b`)
	// apiSwitch is a field that a sentence asks to set, such as "set ordered to true" or "repeat with force".
	apiSwitch = regexp.MustCompile(`\b(set|with) ([a-z]+)( to true)?\b`)
	// apiField is a name of the API's that can be no word of a sentence.
	apiField = regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
)

// otherFlags are the flags that are not called as the API's field is.
var otherFlags = map[string][]string{
	"code_class": {"code"}, "endpoint_ids": {"endpoint-id"}, "event_ids": {"event-id"},
	"event_types": {"event", "events"}, "gap_factor": {"gaps"},
}

// partFlags are the flags for the fields of an endpoint's kind that are not called so.
var partFlags = map[string]string{"server": "smtp", "token": "token_file", "password": "password_file"}

// forPrograms ends what a request's shape has wrong: a command has its own help.
const forPrograms = ": see /openapi.json for what this route takes"

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
	said = strings.TrimPrefix(strings.TrimSuffix(said, forPrograms), "body: ")
	said = apiPlace.ReplaceAllStringFunc(said, func(place string) string {
		if flag := flagOf(apiPlace.FindStringSubmatch(place)[1]); flag != "" {
			return flag + ":"
		}
		return place
	})
	said = apiPart.ReplaceAllStringFunc(said, func(part string) string {
		field := apiPart.FindStringSubmatch(part)[1]
		return cmp.Or(flagOf(cmp.Or(partFlags[field], field)), part)
	})
	said = apiSwitch.ReplaceAllStringFunc(said, func(asked string) string {
		words := apiSwitch.FindStringSubmatch(asked)
		if flag := flagOf(words[2]); flag != "" {
			return map[string]string{"set": "give", "with": "with"}[words[1]] + " " + flag
		}
		return asked
	})
	return apiField.ReplaceAllStringFunc(said, func(field string) string {
		if flag := flagOf(field); flag != "" {
			return flag
		}
		return field
	})
}
