package delivery

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hookledger/domain"
)

const (
	hostsSaid = 1000      // hosts whose refusal the log has lately named
	sayAgain  = time.Hour // after it, the log names a host again
)

// outlet makes every connection that leads out, behind the guard. Of a host's name it tells its caller only that it
// led nowhere: whether there is no such name, or one that leads where nobody may connect, would tell a tenant what
// names the network within knows. The log says it, for whoever runs the server.
type outlet struct {
	net.Dialer
	log  *slog.Logger
	said *lru.Cache[string, time.Time] // when the log last named a host
}

func newOutlet(cfg EgressConfig, timeout time.Duration, log *slog.Logger) *outlet {
	said, _ := lru.New[string, time.Time](hostsSaid) // errs for a size below 1 only
	return &outlet{Dialer: net.Dialer{Timeout: timeout, Control: newGuard(cfg).control, Resolver: resolver(cfg.Resolver)},
		log: log, said: said}
}

// resolver asks as the given one does, or as the system is configured. Go's own leaves a question to a name server that
// does not answer open for seconds after nobody wants to know any more; here its socket is closed with its context.
func resolver(given *net.Resolver) *net.Resolver {
	ask := (&net.Dialer{}).DialContext
	if given != nil && given.Dial != nil {
		ask = given.Dial
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := ask(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		return c, nil
	}}
}

// nameError is what is said of a host's name that led nowhere, the same whatever the reason was.
type nameError struct{ slow bool }

func (e *nameError) Error() string {
	if e.slow {
		return "the host's name was not looked up in time"
	}
	return "the host's name leads to no address that may be connected to: correct the name; where it is right, whoever " +
		"runs this server finds the reason in the server's log"
}

// Is makes a name that was not looked up in time a timeout.
func (e *nameError) Is(target error) bool { return e.slow && target == context.DeadlineExceeded }

// DialContext is a Transport's. What it says of an address that was given as one names the flag which allows it.
func (o *outlet) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := o.Dialer.DialContext(ctx, network, addr)
	if err == nil {
		return c, nil
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return nil, err
	}
	if _, notAnAddress := netip.ParseAddr(host); notAnAddress == nil {
		return nil, err
	}
	var lookup *net.DNSError
	isLookup := errors.As(err, &lookup)
	switch {
	case isLookup && (lookup.IsTimeout || ctx.Err() != nil):
		return nil, &nameError{slow: true}
	case isLookup || domain.Code(err) == string(domain.CodeBlocked):
		o.say(host, err)
		return nil, &nameError{}
	}
	return nil, err
}

// say names the host and the reason in the log: once an hour, for a tenant decides how often this happens.
func (o *outlet) say(host string, why error) {
	now := time.Now()
	if last, ok := o.said.Get(host); ok && now.Sub(last) < sayAgain {
		return
	}
	o.said.Add(host, now)
	o.log.Warn("a host was not connected to", "host", host, "why", why)
}
