package esdbtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
)

// holdPort keeps an address until release is called: by a socket that is bound to it and never listens. While the
// server is stopped, connections are refused, and no other socket of the machine is given its port: not another
// server's, and not that of the client that tries to reach it, which could connect to itself. Port 0 becomes the one
// that was given.
func holdPort(address string) (held string, release func(), err error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, err
	}
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return "", nil, err
	}
	v6 := &syscall.SockaddrInet6{Port: tcp.Port}
	copy(v6.Addr[:], tcp.IP.To16()) // none: all of the machine's
	family, at := syscall.AF_INET6, syscall.Sockaddr(v6)
	if ip := tcp.IP.To4(); ip != nil {
		family, at = syscall.AF_INET, &syscall.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip)}
	}
	socket, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	port, err := bindShared(socket, at)
	if err != nil {
		return "", nil, fmt.Errorf("hold %s: %w", address, errors.Join(err, syscall.Close(socket)))
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), func() { _ = syscall.Close(socket) }, nil
}

// bindShared binds a socket so that a listener may bind to the same address, and gives the port.
func bindShared(socket int, at syscall.Sockaddr) (int, error) {
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(socket, at); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	at, err := syscall.Getsockname(socket)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch at := at.(type) {
	case *syscall.SockaddrInet4:
		return at.Port, nil
	case *syscall.SockaddrInet6:
		return at.Port, nil
	}
	return 0, fmt.Errorf("the system gave it a %T", at)
}
