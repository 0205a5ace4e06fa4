package esdbtest

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

const (
	deletedBefore     = math.MaxInt64 // $tb of a soft-deleted stream
	tombstoneRevision = math.MaxInt64 // of the event $streamDeleted
)

// streamMeta is what the newest event of the stream $$name says about the stream. What can't be parsed says nothing.
type streamMeta struct {
	maxCount       *uint64
	maxAge         time.Duration // 0: for ever
	truncateBefore uint64
	acl            acl
	raw            []byte
}

// acl names who may do what to a stream; nil means that nothing is said, and an empty list that nobody may.
type acl struct{ read, write, remove, metaRead, metaWrite []string }

// metadataStream names the stream that holds a stream's metadata.
func metadataStream(name string) string { return "$$" + name }

// metadataOf names the stream that this one is the metadata of.
func metadataOf(name string) (string, bool) { return strings.CutPrefix(name, "$$") }

func (m *streamMeta) softDeleted() bool { return m.truncateBefore == deletedBefore }

// roles is one role or a list of them.
type roles []string

func (r *roles) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*r = roles{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(r))
}

func parseMetadata(raw []byte) streamMeta {
	var in struct {
		MaxCount *uint64 `json:"$maxCount"`
		MaxAge   int64   `json:"$maxAge"`
		Before   uint64  `json:"$tb"`
		ACL      acls    `json:"$acl"`
	}
	if json.Unmarshal(raw, &in) != nil {
		return streamMeta{raw: raw}
	}
	return streamMeta{maxCount: in.MaxCount, maxAge: time.Duration(in.MaxAge) * time.Second, truncateBefore: in.Before,
		acl: in.ACL.list(), raw: raw}
}

// acls is an access list as JSON has it.
type acls struct {
	Read      roles `json:"$r"`
	Write     roles `json:"$w"`
	Delete    roles `json:"$d"`
	MetaRead  roles `json:"$mr"`
	MetaWrite roles `json:"$mw"`
}

func (a *acls) list() acl {
	return acl{read: a.Read, write: a.Write, remove: a.Delete, metaRead: a.MetaRead, metaWrite: a.MetaWrite}
}

// truncatedBefore is the metadata with another $tb, and all else as it was.
func (m *streamMeta) truncatedBefore(revision uint64) []byte {
	all := map[string]json.RawMessage{}
	if json.Unmarshal(m.raw, &all) != nil || all == nil {
		all = map[string]json.RawMessage{}
	}
	all["$tb"], _ = json.Marshal(revision)
	out, _ := json.Marshal(all)
	return out
}

// access gives a stream's access list.
func (e *engine) access(name string) acl {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.streams[name]; s != nil {
		return s.meta.acl
	}
	return acl{}
}
