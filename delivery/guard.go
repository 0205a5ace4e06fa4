package delivery

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"code.dny.dev/ssrf"

	"hookledger/domain"
)

// azureWire is the one address inside a cloud that no IANA registry lists as special: Azure's platform channel.
var azureWire = netip.MustParseAddr("168.63.129.16")

// guard decides which addresses may be dialled. It is asked for each address that is really dialled, after the name was
// looked up, so that no answer of a name server gets round it.
type guard struct {
	cfg    EgressConfig
	public *ssrf.Guardian // knows what is not public; decides no ports
}

func newGuard(cfg EgressConfig) *guard {
	return &guard{cfg: cfg, public: ssrf.New(ssrf.WithAnyPort(),
		ssrf.WithDeniedV4Prefixes(netip.PrefixFrom(azureWire, 32)))}
}

// control is a net.Dialer's Control.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return blocked("the network "+network+" may not be dialled", "use an http or https url")
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return blocked("the address to dial can't be read", "use an http or https url")
	}
	return g.check(ap.Addr(), ap.Port())
}

// check says whether an address may be dialled; its error is a *domain.Error that names the flag to allow it with.
func (g *guard) check(ip netip.Addr, port uint16) error {
	ip = ip.WithZone("").Unmap()
	for _, p := range g.cfg.AllowCIDR {
		if p.Contains(ip) {
			return nil
		}
	}
	if g.cfg.Dev && ip.IsLoopback() {
		return nil
	}
	if g.public.SafeAddr(ip) != nil {
		return blocked("the address "+ip.String()+" is not public",
			"to deliver there all the same, start the server with --allow-cidr "+netip.PrefixFrom(ip, ip.BitLen()).String())
	}
	if len(g.cfg.AllowPorts) > 0 && !slices.Contains(g.cfg.AllowPorts, port) {
		p := strconv.Itoa(int(port))
		return blocked("the port "+p+" is not one of the allowed ones",
			"to deliver there all the same, start the server with --allow-port "+p)
	}
	return nil
}

func blocked(detail, fix string) error {
	return domain.Refuse(domain.KindInvalid, string(domain.CodeBlocked), detail, fix)
}

// CheckTarget refuses a target whose host is a literal address that must not be dialled, in any of the ways in which an
// IPv4 address can be written, and the names of the machine itself. host may have a port. It is there to answer early:
// other names are looked up, and their addresses checked, when they are dialled. Errors are *domain.Error.
func CheckTarget(cfg EgressConfig, scheme, host string) error {
	name, port := host, uint16(80)
	if scheme == "https" {
		port = 443
	}
	if h, p, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return domain.Refuse(domain.KindInvalid, "invalid_url", "the endpoint's url has no valid port",
				"give a port from 1 to 65535, or none")
		}
		name, port = h, uint16(n)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) {
		// Whoever dials maps such a name first, and what it is mapped to can be an address.
		return domain.Refuse(domain.KindInvalid, "invalid_url", "the host of the endpoint's url is not in ASCII",
			"write an international name in punycode, such as xn--bcher-kva.example, and an address in plain digits")
	}
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]"), ".")
	g := newGuard(cfg)
	if lower := strings.ToLower(name); lower == "localhost" || strings.HasSuffix(lower, ".localhost") {
		if g.check(netip.IPv6Loopback(), port) == nil {
			return nil
		}
		return g.check(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return g.check(ip, port)
	}
	if ip, ok := legacyIPv4(name); ok {
		return g.check(ip, port)
	}
	return nil
}

// legacyIPv4 reads what inet_aton reads: one to four parts in decimal, octal (0...) or hex (0x...), of which the last
// fills all bytes that are left.
func legacyIPv4(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var ip uint64
	for i, p := range parts {
		base := 10
		switch {
		case len(p) > 2 && (p[:2] == "0x" || p[:2] == "0X"):
			p, base = p[2:], 16
		case len(p) > 1 && p[0] == '0':
			p, base = p[1:], 8
		}
		n, err := strconv.ParseUint(p, base, 32)
		if err != nil {
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if n >= 1<<bits {
			return netip.Addr{}, false
		}
		ip = ip<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(ip >> 24), byte(ip >> 16), byte(ip >> 8), byte(ip)}), true
}
