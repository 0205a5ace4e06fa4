// Package pointer reads JSON that others write: it checks a text strictly and follows JSON Pointers (RFC 6901) through
// it, giving values byte for byte. It must never change a value, or take what is ambiguous.
package pointer
