//go:build !linux

package esdbtest

import "errors"

// holdPort keeps an address, where the system lets one; see port_linux.go.
func holdPort(string) (held string, release func(), err error) {
	return "", nil, errors.ErrUnsupported
}
