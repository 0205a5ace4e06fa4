package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hookledger/domain"
)

// address is where the connection string points, without credentials.
func (d *dialer) address() string {
	if len(d.conf.GossipSeeds) == 0 {
		return d.conf.Address
	}
	var names []string
	for _, seed := range d.conf.GossipSeeds {
		names = append(names, seed.String())
	}
	return strings.Join(names, ",")
}

// trouble is a diagnosis: what is wrong, and how to mend it.
type trouble struct {
	err *domain.Error
	// passing says that it may mend itself: the database starts, or elects a leader.
	passing bool
	// doubtful says that it may be something else for a moment: a server that starts hangs up too.
	doubtful bool
}

func (t *trouble) Error() string { return t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

// isPassing says whether waiting may help.
func isPassing(err error) bool {
	var t *trouble
	return errors.As(err, &t) && t.passing
}

// isDoubtful says whether to look again before it is believed.
func isDoubtful(err error) bool {
	var t *trouble
	return errors.As(err, &t) && t.doubtful
}

// diagnoseAll makes one diagnosis of what the nodes of a cluster came to: that something must be mended comes before
// that there is no leader, and that before a node that is down.
func (d *dialer) diagnoseAll(errs []error) error {
	var best error
	rank := 0
	for _, err := range errs {
		err = d.diagnose(err)
		r := 1
		switch {
		case !isPassing(err):
			r = 3
		case domain.Code(err) == "eventstore_no_leader":
			r = 2
		}
		if r >= rank {
			best, rank = err, r
		}
	}
	return best
}

// diagnose says why a node could not be reached or used.
func (d *dialer) diagnose(err error) error {
	var known *trouble
	var refused *domain.Error
	if errors.As(err, &known) || errors.As(err, &refused) {
		return err
	}
	f, text, at := fateOf(err), reason(err), d.address()
	has := func(part string) bool { return strings.Contains(text, part) }
	say := func(passing bool, code, detail, fix string) error {
		return &trouble{err: domain.Refuse(domain.KindUnavailable, code, detail, fix), passing: passing}
	}
	switch {
	case f == anonymous:
		return say(false, "eventstore_user", "the server "+at+" refuses the user"+d.user()+": "+text,
			"check the user's name and password")
	case f == forbidden && !d.conf.DisableTLS && d.conf.Username == "" && d.conf.UserCertFile == "":
		return say(false, "eventstore_permission", "no user is given, and without one "+at+" refuses this: "+text,
			"name a user of the group $admins, and its password")
	case f == forbidden:
		return say(false, "eventstore_permission", "the user"+d.user()+" may not do this on "+at+": "+text,
			"use a user of the group $admins, or give it read and write access to $all and to the ledger's streams")
	case has("x509: certificate signed by unknown authority"):
		return say(false, "eventstore_ca", "the certificate of "+at+" is signed by a CA that is not trusted here",
			"name the CA's PEM file by tlsCaFile=")
	case has("x509:"):
		return say(false, "eventstore_certificate", "the certificate of "+at+" does not hold: "+behind(text, "x509: "),
			"use the name that it is for, or give the server another one")
	case has("first record does not look like a TLS handshake"):
		return say(false, "eventstore_tls", "the server "+at+" speaks no TLS", "add ?tls=false to the connection string")
	case d.conf.DisableTLS && has("error reading server preface"):
		return &trouble{err: domain.Refuse(domain.KindUnavailable, "eventstore_tls",
			"the server "+at+" hangs up on a connection without TLS",
			"leave out tls=false, and name the CA's PEM file by tlsCaFile="), doubtful: true}
	case has("tls: "):
		return say(false, "eventstore_tls", "TLS with "+at+" fails: "+behind(text, "tls: "),
			"check the server's and the user's certificates")
	case has("no nodes are elig"), has("there are no members"), f == notLeader, has("Server Is Not Ready"):
		return say(true, "eventstore_no_leader", "no node behind "+at+" is the leader: "+orElse(text, "it is another one"),
			"start enough nodes for a majority, and look at their logs")
	case has("no such host"), has("produced zero addresses"):
		return say(true, "eventstore_address", "the name of "+at+" is not known: "+text, "check the address")
	case f == unanswered, errors.Is(err, context.DeadlineExceeded):
		return say(true, "eventstore_address", "the server "+at+" does not answer", "check the address, and whether it runs")
	}
	return say(true, "eventstore_address", "the server "+at+" can't be reached: "+text,
		"check the address, and whether it runs")
}

func (d *dialer) user() string {
	switch {
	case d.conf.DisableTLS && d.conf.Username != "":
		return fmt.Sprintf(" %s (without TLS no credentials are sent)", d.conf.Username)
	case d.conf.Username != "":
		return " " + d.conf.Username
	case d.conf.UserCertFile != "":
		return " of the certificate " + d.conf.UserCertFile
	}
	return " (none is given)"
}

// behind is the text from the part's end on, without gRPC's closing quote.
func behind(text, part string) string {
	_, rest, _ := strings.Cut(text, part)
	return strings.TrimSuffix(rest, `"`)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
