package domain

import "strings"

// ValidEventType says whether a name is dot-separated words of a-z0-9_, at most 128 bytes: "agent.budget_alert".
func ValidEventType(s string) bool {
	if s == "" || len(s) > MaxIDLength {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" {
			return false
		}
		for i := range len(word) {
			if c := word[i]; !alphanumeric(c) && c != '_' {
				return false
			}
		}
	}
	return true
}

// ValidPattern says whether a pattern is an event type, a prefix of whole words and ".*", or "*".
func ValidPattern(p string) bool {
	return p == "*" || ValidEventType(strings.TrimSuffix(p, ".*"))
}

// MatchType says whether the pattern takes the event type. "agent.*" takes every type below "agent.", not "agent"; "*"
// takes all but what hookledger says of itself: who wants that, asks for it.
func MatchType(pattern, eventType string) bool {
	if pattern == "*" {
		return !Operational(eventType)
	}
	if pattern == eventType {
		return true
	}
	prefix, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasSuffix(prefix, ".") && len(eventType) > len(prefix) && strings.HasPrefix(eventType, prefix)
}

// MatchAny says whether one of the patterns takes the event type.
func MatchAny(patterns []string, eventType string) bool {
	for _, p := range patterns {
		if MatchType(p, eventType) {
			return true
		}
	}
	return false
}
