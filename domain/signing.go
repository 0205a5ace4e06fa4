package domain

import (
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"
)

// Bounds of a rotation.
const (
	// DefaultOverlap is how long a replaced key signs beside its successor.
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
	// MaxPreviousKeys is how many replaced keys sign beside the one in force at most.
	MaxPreviousKeys = 2
)

// Retiring is a secret of an endpoint that nothing uses from a time on, and that is not known to be destroyed yet.
type Retiring struct {
	KeyID  string
	From   time.Time
	Reason string
	// Because is the record that says so.
	Because ulid.ULID
}

// previous is the key as what it is once another one has replaced it.
func (s *Signing) previous(until time.Time) PreviousKey {
	return PreviousKey{Scheme: s.Scheme, KeyID: s.KeyID, Fingerprint: s.Fingerprint, PublicKey: s.PublicKey,
		ValidUntil: until}
}

// Rotate decides on a new signing key. The one in force signs on beside it for the overlap, and so do those before it
// to their own ends; an overlap of 0 ends them all at once.
func (e *Endpoint) Rotate(next Signing, overlap time.Duration, at time.Time) ([]Fact, error) {
	if err := e.CanRotate(overlap, at); err != nil {
		return nil, err
	}
	if next.Fingerprint == e.Config.Signing.Fingerprint {
		return nil, Refuse(KindInvalid, "same_secret", "this is the secret that the endpoint has already",
			"leave secret out to get a new one, or give another one")
	}
	next.Previous = []PreviousKey{e.Config.Signing.previous(at.Add(overlap))}
	for _, p := range e.Config.Signing.Previous {
		if p.ValidUntil.After(at) {
			if overlap == 0 {
				p.ValidUntil = at
			}
			next.Previous = append(next.Previous, p)
		}
	}
	return []Fact{&EndpointSecretRotated{Signing: next}}, nil
}

var errUnsigned = Refuse(KindInvalid, "not_signed", "what goes to this endpoint is not signed: only webhooks are",
	"to change a token or a password, update the endpoint")

// CanRotate refuses a rotation that Rotate would refuse whatever the new key is, before one is made.
func (e *Endpoint) CanRotate(overlap time.Duration, at time.Time) error {
	if err := e.ready(nil); err != nil {
		return err
	}
	if !e.Config.Signs() {
		return errUnsigned
	}
	if overlap < 0 || overlap > MaxOverlap {
		return Refuse(KindInvalid, "invalid_overlap", "the overlap is "+overlap.String(), "use 0s to 720h")
	}
	alive, first := 0, time.Time{}
	for _, p := range e.Config.Signing.Previous {
		if p.ValidUntil.After(at) {
			if alive++; first.IsZero() || p.ValidUntil.Before(first) {
				first = p.ValidUntil
			}
		}
	}
	if alive >= MaxPreviousKeys && overlap > 0 {
		return Refuse(KindConflict, "too_many_secrets", strconv.Itoa(alive)+" replaced secrets of the endpoint still sign",
			"the first one ends at "+first.UTC().Format(time.RFC3339)+": rotate again then, or with an overlap of 0, "+
				"which ends all replaced ones at once")
	}
	return nil
}

// Retire decides to say that the secrets with these ids were destroyed; those that the endpoint still uses, and those
// of which that was said already, are left out. because is the record that it follows from.
func (e *Endpoint) Retire(keys []string, now time.Time) (out []Fact, because ulid.ULID) {
	for _, reason := range []string{RetiredRotated, RetiredReplaced, RetiredRemoved} {
		f := &EndpointSecretRetired{Reason: reason}
		for _, r := range e.Retiring {
			if r.Reason == reason && !r.From.After(now) && slices.Contains(keys, r.KeyID) {
				f.Keys = append(f.Keys, r.KeyID)
				because = r.Because
			}
		}
		if len(f.Keys) > 0 {
			out = append(out, f)
		}
	}
	return out, because
}

// secrets are the ids of all that a configuration has in the vault, but for the signing keys.
func (c *EndpointConfig) secrets() []string {
	var out []string
	for _, h := range c.Headers {
		out = append(out, h.Value.KeyID)
	}
	if c.Auth != nil {
		out = append(out, c.Auth.Value.KeyID)
	}
	if c.ClientCert != nil {
		out = append(out, c.ClientCert.Pair.KeyID)
	}
	if c.Legacy != nil {
		out = append(out, c.Legacy.Secret.KeyID)
	}
	if c.Credential != nil {
		out = append(out, c.Credential.KeyID)
	}
	return out
}

// replace notes what a new configuration does not name any more. What others hold of e is not changed, here and below.
func (e *Endpoint) replace(next *EndpointConfig, r *Record) {
	kept := next.secrets()
	for _, id := range e.Config.secrets() {
		if !slices.Contains(kept, id) {
			e.retire(Retiring{id, r.RecordedAt, RetiredReplaced, r.ID})
		}
	}
}

func (e *Endpoint) rotated(s Signing, r *Record) {
	for _, p := range s.Previous {
		e.retire(Retiring{p.KeyID, p.ValidUntil, RetiredRotated, r.ID})
	}
	e.Config.Signing = s
}

// abandon notes all that a removed endpoint has: nothing uses it any more.
func (e *Endpoint) abandon(r *Record) {
	ids := e.Config.secrets()
	if id := e.Config.Signing.KeyID; id != "" {
		ids = append(ids, id)
	}
	for _, p := range e.Config.Signing.Previous {
		ids = append(ids, p.KeyID)
	}
	for _, id := range ids {
		e.retire(Retiring{id, r.RecordedAt, RetiredRemoved, r.ID})
	}
}

// retire adds to what retires, or lets it do so earlier.
func (e *Endpoint) retire(r Retiring) {
	i := slices.IndexFunc(e.Retiring, func(o Retiring) bool { return o.KeyID == r.KeyID })
	if i >= 0 && !r.From.Before(e.Retiring[i].From) {
		return
	}
	e.Retiring = slices.Clone(e.Retiring)
	if i >= 0 {
		e.Retiring = slices.Delete(e.Retiring, i, i+1)
	}
	e.Retiring = append(e.Retiring, r)
}

func (e *Endpoint) retired(keys []string) {
	gone := func(id string) bool { return slices.Contains(keys, id) }
	e.Retiring = slices.DeleteFunc(slices.Clone(e.Retiring), func(r Retiring) bool { return gone(r.KeyID) })
	e.Config.Signing.Previous = slices.DeleteFunc(slices.Clone(e.Config.Signing.Previous),
		func(p PreviousKey) bool { return gone(p.KeyID) })
	if len(e.Retiring) == 0 {
		e.Retiring = nil
	}
	if len(e.Config.Signing.Previous) == 0 {
		e.Config.Signing.Previous = nil
	}
}
