package main

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
)

var (
	// apiPlace is where the API found something wrong, such as "query.code_class:" or "body.select.status[0]:".
	apiPlace = regexp.MustCompile(`\b(?:body|query)\.(?:[a-z_]+\.)*([a-z_]+)(?:\[\d+\])?:`)
	// apiPart is a field of what an endpoint's kind or signature needs, such as "email.from".
	apiPart = regexp.MustCompile(`\b(?:email|telegram|legacy_signature)\.([a-z]+(?:_[a-z]+)*)\b`)
	// apiSwitch is a field that a sentence asks to set, such as "set ordered to true" or "repeat with force".
	apiSwitch = regexp.MustCompile(`\b(set|with) ([a-z]+)( to true)?\b`)
	// apiField is a name of the API's that can be no word of a sentence.
	apiField = regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
	// apiSubject is a field that a sentence begins with, such as "tz: there is no time zone" or "event is no type".
	apiSubject = regexp.MustCompile(`^([a-z_]+)(:| is | was )`)
	// apiQuoted is a field of an event, which a file may have as well.
	apiQuoted = regexp.MustCompile(`\bthe field "([a-z]+)"`)
	// apiKind is an endpoint's kind.
	apiKind = regexp.MustCompile(`\b(?:the )?kind (webhook|slack|telegram|email)\b`)
)

// otherFlags are the flags that are not called as the API's field is; where several stand for one, that which was given
// is meant, else the first.
var otherFlags = map[string][]string{
	"code_class": {"code"}, "endpoint_ids": {"endpoint-id"}, "event_ids": {"event-id"},
	"event_types": {"event", "events"}, "gap_factor": {"gaps"}, "legacy_signature": {"legacy-header"},
	"header": {"legacy-header"},
	"auth":   {"auth-basic", "auth-bearer"}, "secret": {"secret-file"}, "email": {"smtp", "from", "to", "username",
		"password-file"}, "telegram": {"chat-id", "token-file"},
}

// partFlags are the flags for the fields that apiPart finds and that are not called so.
var partFlags = map[string]string{"server": "smtp", "token": "token_file", "password": "password_file",
	"header": "legacy_header", "prefix": "legacy_prefix", "secret": "legacy_secret_file"}

// wordFields are, by a refusal's code, the words of its sentences that are fields there, and what is given for them
// here: a field, or a setting.
var wordFields = map[string]map[string]string{
	"no_period":           {"from": "from", "to": "to", "period": "period"},
	"invalid_period":      {"from": "from", "to": "to", "period": "period"},
	"empty_range":         {"from": "from", "to": "to", "numbers": "numbers"},
	"invalid_range":       {"numbers": "numbers"},
	"invalid_timeout":     {"timeout": "timeout"},
	"invalid_overlap":     {"overlap": "overlap"},
	"invalid_rate_limit":  {"rate limit": "rate_limit"},
	"invalid_rate":        {"rate": "rate"},
	"invalid_url":         {"url": "url"},
	"invalid_destination": {"secret": "secret", "scheme": "scheme"},
	"invalid_match":       {"status": "status", "match": "match"},
	"empty_selector":      {"status": "status"},
	"invalid_source": {"email": "email", "password": "HOOKLEDGER_SOURCE_PASSWORD",
		"api_key": "HOOKLEDGER_SOURCE_API_KEY"},
}

// aboutFields are, by a refusal's code, the field that it is about where no sentence of it names one.
var aboutFields = map[string]string{
	"invalid_retry_schedule": "retry_schedule", "invalid_event_type": "event_types", "invalid_signing_secret": "secret",
	"invalid_header": "header", "invalid_auth": "auth", "invalid_client_cert": "client_cert", "invalid_cursor": "cursor",
	"no_endpoint": "endpoint_ids", "invalid_status": "status", "invalid_id": "id",
	"invalid_idempotency_key": "idempotency_key",
}

// forPrograms ends what a request's shape has wrong: a command has its own help.
const forPrograms = ": see /openapi.json for what this route takes"

// flagOf is the command's flag for a field of the API's, "" where there is none.
func flagOf(cmd *cobra.Command, field string) string {
	first := ""
	for _, name := range append([]string{strings.ReplaceAll(field, "_", "-")}, otherFlags[field]...) {
		switch f := cmd.Flags().Lookup(name); {
		case f == nil:
		case f.Changed:
			return "--" + name
		case first == "":
			first = "--" + name
		}
	}
	return first
}

// refusedInFlags says with the command's flags what a refusal says with the API's fields, or in words.
func refusedInFlags(cmd *cobra.Command, p *apiclient.Problem) (detail, fix string) {
	detail, fix = wordsInFlags(cmd, p.Code, p.Error()), wordsInFlags(cmd, p.Code, p.Fix)
	detail, fix = inFlags(cmd, detail), inFlags(cmd, fix)
	if flag := flagOf(cmd, aboutFields[p.Code]); flag != "" && !strings.Contains(detail+fix, "--") {
		detail = flag + ": " + detail
	}
	return detail, fix
}

// wordsInFlags replaces the words that are fields in a refusal of this code.
func wordsInFlags(cmd *cobra.Command, code, said string) string {
	for _, word := range slices.Sorted(maps.Keys(wordFields[code])) {
		means := wordFields[code][word]
		if !strings.HasPrefix(means, "HOOKLEDGER_") {
			means = flagOf(cmd, means)
		}
		if means != "" {
			said = regexp.MustCompile(`(^|[^-\w])`+word+`\b`).ReplaceAllString(said, "${1}"+means)
		}
	}
	return said
}

// inFlags says with the command's flags what the API says with its fields: who types flags must not look fields up.
func inFlags(cmd *cobra.Command, said string) string {
	flagOf := func(field string) string { return flagOf(cmd, field) }
	said = strings.TrimPrefix(strings.TrimSuffix(said, forPrograms), "body: ")
	said = apiPlace.ReplaceAllStringFunc(said, func(place string) string {
		if flag := flagOf(apiPlace.FindStringSubmatch(place)[1]); flag != "" {
			return flag + ":"
		}
		return place
	})
	said = apiSubject.ReplaceAllStringFunc(said, func(subject string) string {
		parts := apiSubject.FindStringSubmatch(subject)
		return cmp.Or(flagOf(parts[1]), parts[1]) + parts[2]
	})
	said = apiQuoted.ReplaceAllStringFunc(said, func(quoted string) string {
		flag := flagOf(apiQuoted.FindStringSubmatch(quoted)[1])
		if flag == "" || !cmd.Flags().Changed(strings.TrimPrefix(flag, "--")) {
			return quoted
		}
		return flag
	})
	if cmd.Flags().Lookup("kind") != nil {
		said = apiKind.ReplaceAllString(said, "--kind $1")
	}
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
