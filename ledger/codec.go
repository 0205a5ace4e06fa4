package ledger

import "hookledger/domain"

// Format is the version of the records' encoding that this binary writes.
const Format = 1

// Encoded is a record's canonical encoding, in two parts; hashes and digests are over them, so it never changes for a
// record that exists, in whatever store it stands. The position is not part of it.
type Encoded struct {
	Header []byte // JSON: id, type, version, tenant, stream, revision, time, causation
	Body   []byte // JSON: actor, correlation, data
}

// Encode writes a record whose Revision is set.
// Decode reads it back; a type or version that this binary does not know gives *domain.Unknown.
var _ = domain.NoStream
