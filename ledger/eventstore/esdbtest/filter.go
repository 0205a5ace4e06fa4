package esdbtest

import (
	"regexp"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
)

// filter says which records of the log a client wants; nil: all of them.
type filter func(*event) bool

// defaultWindow is how many records a filtered subscription looks at between checkpoints when the client names no
// number.
const defaultWindow = 32

// checkpoints says when a filtered subscription tells its client how far it has looked.
type checkpoints struct {
	window uint64 // records in a page of the log
	every  uint64 // records between checkpoints; 0: there are none
}

// filterOf reads the filter of a request.
func filterOf(o *streams.ReadReq_Options) (filter, checkpoints, error) {
	f := o.GetFilter()
	if f == nil {
		return nil, checkpoints{}, nil
	}
	of, key := f.GetStreamIdentifier(), func(r *event) string { return r.stream }
	if of == nil {
		of, key = f.GetEventType(), func(r *event) string { return r.typ }
	}
	c := checkpoints{window: uint64(f.GetMax())}
	if c.window == 0 {
		c.window = defaultWindow
	}
	c.every = c.window * max(1, uint64(f.GetCheckpointIntervalMultiplier()))
	if pattern := of.GetRegex(); pattern != "" {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, checkpoints{}, errHandler()
		}
		return func(r *event) bool { return re.MatchString(key(r)) }, c, nil
	}
	prefixes := of.GetPrefix()
	if len(prefixes) == 0 {
		return nil, checkpoints{}, errHandler()
	}
	return func(r *event) bool {
		k := key(r)
		for _, p := range prefixes {
			if strings.HasPrefix(k, p) {
				return true
			}
		}
		return false
	}, c, nil
}
