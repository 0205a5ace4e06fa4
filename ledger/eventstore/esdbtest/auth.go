package esdbtest

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// The groups of users that may do more than others.
const (
	// Admins may do everything.
	Admins = "$admins"
	// Operators may manage persistent subscriptions.
	Operators = "$ops"
)

// user is who may call, if TLS is on. Without it there are no users, as on a real node that runs with --insecure.
type user struct {
	name     string
	password string
	groups   []string
}

// system is who calls a node without TLS.
var system = &user{name: "system", groups: []string{Admins}}

// is says whether an access list's entry means this user.
func (u *user) is(role string) bool {
	return role == allStream || role == u.name || slices.Contains(u.groups, role)
}

// WithUser lets a user in, beside those that a fresh database has: admin and ops, whose password is changeit. The name
// of one of them gives it another password. Groups are [Admins], [Operators], or any that access lists name.
func WithUser(name, password string, groups ...string) Option {
	return func(c *config) error {
		if name == "" || strings.Contains(name, ":") {
			return fmt.Errorf("esdbtest: the user name %q is empty or has a colon", name)
		}
		u := &user{name: name, password: password, groups: groups}
		if old := c.users[name]; old != nil && groups == nil {
			u.groups = old.groups
		}
		all := map[string]*user{name: u}
		for n, other := range c.users {
			if n != name {
				all[n] = other
			}
		}
		c.users = all
		return nil
	}
}

func defaultUsers() map[string]*user {
	return map[string]*user{
		"admin": {name: "admin", password: "changeit", groups: []string{Admins}},
		"ops":   {name: "ops", password: "changeit", groups: []string{Operators}},
	}
}

// identify says who makes a call: nobody is nil.
func (s *Server) identify(ctx context.Context) (*user, error) {
	if s.cfg.tls == nil {
		return system, nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if given := md.Get("authorization"); len(given) > 0 {
		return s.login(given[0])
	}
	if s.cfg.certificates {
		return s.certified(ctx), nil
	}
	return nil, nil
}

// login checks a name and a password.
func (s *Server) login(header string) (*user, error) {
	refused := failure(codes.Unauthenticated, "Unauthenticated")
	scheme, value, _ := strings.Cut(header, " ")
	plain, err := base64.StdEncoding.DecodeString(value)
	if err != nil || !strings.EqualFold(scheme, "basic") {
		return nil, refused
	}
	name, password, _ := strings.Cut(string(plain), ":")
	u := s.cfg.users[name]
	if u == nil || subtle.ConstantTimeCompare([]byte(u.password), []byte(password)) != 1 {
		return nil, refused
	}
	return u, nil
}

// certified is the user that the client's certificate names.
func (s *Server) certified(ctx context.Context) *user {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil
	}
	return s.cfg.users[info.State.PeerCertificates[0].Subject.CommonName]
}

// userOf names who makes a call.
func (s *Server) userOf(ctx context.Context) string {
	if u, err := s.identify(ctx); err == nil && u != nil {
		return u.name
	}
	return "anonymous"
}

// authorize says whether a call may be made: Unauthenticated if its user or password is wrong, PermissionDenied if it
// has no user or one that may not.
func (s *Server) authorize(ctx context.Context, c *Call) error {
	u, err := s.identify(ctx)
	if err != nil {
		return err
	}
	if s.may(u, c) {
		return nil
	}
	return failure(codes.PermissionDenied, "Access Denied", "exception", "access-denied")
}
