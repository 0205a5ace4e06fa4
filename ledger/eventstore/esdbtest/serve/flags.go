package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"hookledger/ledger/eventstore/esdbtest"
)

// settings is what the flags say.
type settings struct {
	listen       string
	nodes        int
	faults       string
	seed         uint64
	cert, key    string
	ca           string
	users        []string
	certificates bool
	leaderChange time.Duration
	restart      time.Duration
	outage       time.Duration
	slowBy       time.Duration
}

func parse(args []string, errs io.Writer) (*settings, error) {
	s := &settings{}
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&s.listen, "listen", "127.0.0.1:2113",
		"`host:port` to listen on; port 0 takes a free one. A cluster's other nodes take the ports behind it")
	flags.IntVar(&s.nodes, "nodes", 1, "how many nodes; 3 make a cluster")
	flags.StringVar(&s.faults, "faults", "",
		"what goes wrong, each with a probability or a count: `name=0.01,name=3`; the names are "+faultNames())
	flags.Uint64Var(&s.seed, "seed", 0, "what the random draws start from; 0 takes one and prints it")
	flags.StringVar(&s.cert, "tls-cert", "", "the node's certificate in PEM; with --tls-key and --ca it turns TLS and users on")
	flags.StringVar(&s.key, "tls-key", "", "its key")
	flags.StringVar(&s.ca, "ca", "", "the authority that users' certificates are signed by")
	flags.Func("user", "`name:password[:group,group]` of a user beside admin and ops; may be given more than once",
		func(v string) error { s.users = append(s.users, v); return nil })
	flags.BoolVar(&s.certificates, "user-certificates", false, "take a client's certificate for a login")
	flags.DurationVar(&s.leaderChange, "leader-change-every", 0,
		"about how often the leader is killed, frozen, or resigns; needs --nodes 3 or more")
	flags.DurationVar(&s.restart, "restart-every", 0, "about how often a node is killed and started again")
	flags.DurationVar(&s.outage, "outage", time.Second, "for how long a frozen node stays frozen")
	flags.DurationVar(&s.slowBy, "slow-by", 50*time.Millisecond, "how long a slow connection holds back each write")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q: it takes flags only, see --help", flags.Arg(0))
	}
	if s.leaderChange > 0 && s.nodes < 3 {
		return nil, fmt.Errorf("--leader-change-every needs a cluster that can elect another leader: --nodes 3, not %d", s.nodes)
	}
	if s.seed == 0 {
		s.seed = rand.Uint64()
	}
	return s, nil
}

func faultNames() string {
	var names []string
	for _, f := range esdbtest.AllFaults() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// options are the settings as the server takes them.
func (s *settings) options() ([]esdbtest.Option, *esdbtest.Faults, error) {
	faults, err := esdbtest.ParseFaults(s.faults, s.seed)
	if err != nil {
		return nil, nil, err
	}
	out := []esdbtest.Option{esdbtest.WithAddress(s.listen), esdbtest.WithOutage(s.outage), esdbtest.WithSlow(s.slowBy)}
	if s.faults != "" {
		out = append(out, esdbtest.WithFaults(faults))
	}
	secured := s.cert != "" || s.key != "" || s.ca != ""
	if secured {
		if s.cert == "" || s.key == "" || s.ca == "" {
			return nil, nil, errors.New("TLS needs all three of --tls-cert, --tls-key and --ca")
		}
		out = append(out, esdbtest.WithTLSFiles(s.cert, s.key, s.ca))
	}
	if (s.users != nil || s.certificates) && !secured {
		return nil, nil, errors.New("--user and --user-certificates mean nothing without TLS: give --tls-cert, --tls-key and --ca")
	}
	if s.certificates {
		out = append(out, esdbtest.WithUserCertificates())
	}
	for _, u := range s.users {
		name, rest, found := strings.Cut(u, ":")
		if !found {
			return nil, nil, errors.New("--user wants name:password, and for one in groups name:password:group,group")
		}
		password, list, _ := strings.Cut(rest, ":")
		var groups []string
		if list != "" {
			groups = strings.Split(list, ",")
		}
		out = append(out, esdbtest.WithUser(name, password, groups...))
	}
	return out, faults, nil
}
