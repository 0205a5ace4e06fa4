package eventstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/ledger/eventstore/esdbtest"
)

const canary = "pa55word-of-a-canary"

// TestConfig_Refusals: what is wrong with a connection string is said before anything is dialled.
func TestConfig_Refusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	const write = ": write " + example
	for in, want := range map[string]string{
		"":                              "the connection string has no scheme" + write,
		"user:" + canary + "@localhost": "the connection string has no scheme" + write,
		"https://user:" + canary + "@localhost": "the connection string's scheme is not one of esdb, esdb+discover, " +
			"kurrentdb and kurrentdb+discover" + write,
		"esdb://user:" + canary + "/@localhost": "the connection string has an @ behind the address: write / ? # and @ in " +
			"a user's name or password as %2F %3F %23 and %40",
		"esdb://user:" + canary + "%zz@localhost": "the user's name or password has a % that begins no escape: write % as %25",
		"esdb://:" + canary + "@localhost":        "the connection string has a password and no user" + write,
		"esdb://user:" + canary + "@": "the connection string can't be read: connection string doesn't have an host" +
			write,
		"esdb://user:" + canary + "@host:port": "the connection string can't be read: parse \"esdb://host:port\": invalid " +
			"port \":port\" after host" + write,
		"esdb://host/path": "the connection string can't be read: unsupported URL path: /path" + write,
		"esdb://host?tls=perhaps": "the connection string can't be read: Setting 'tls' must be either true or false" +
			write,
		"esdb://host?tsl=false": "the connection string has the setting \"tsl\", which is none: use one of " +
			strings.Join(settings, ", "),
		"esdb://host?tls=%zz": "the settings behind the ? can't be read: invalid URL escape \"%zz\": write " +
			"?key=value&key=value",
		"esdb://host?nodePreference=Follower": "nodePreference=Follower reads from a node that may not have the newest " +
			"records: leave it out, or write nodePreference=leader",
		"esdb://host?nodePreference=random": "nodePreference=random reads from a node that may not have the newest " +
			"records: leave it out, or write nodePreference=leader",
		"esdb://host?nodepreference=readOnlyReplica": "nodePreference=readOnlyReplica reads from a node that may not have the " +
			"newest records: leave it out, or write nodePreference=leader",
		"esdb://host?defaultDeadline=soon": "defaultDeadline=soon is no number of milliseconds above 0: leave it out, or " +
			"write defaultDeadline=5000",
		"esdb://host?tlsCaFile=" + dir + "/none.pem": "the CA file can't be read: open " + dir + "/none.pem: no such file " +
			"or directory: name a PEM file by tlsCaFile",
		"esdb://host?tlsCaFile=" + empty: "the CA file " + empty + " holds no certificate: name a PEM file by tlsCaFile",
		"esdb://host?userCertFile=" + empty: "a user certificate needs both userCertFile and userKeyFile: name both, or " +
			"neither",
		"esdb://host?userCertFile=" + empty + "&userKeyFile=" + empty: "the user certificate " + empty + " with its key " +
			empty + " can't be read: tls: failed to find any PEM data in certificate input: name two PEM files that belong " +
			"together",
	} {
		s, err := Open(t.Context(), Config{ConnectionString: in})
		if err == nil {
			t.Errorf("%s is taken", in)
			_ = s.Close()
			continue
		}
		if err.Error() != want || domain.Code(err) == "" {
			t.Errorf("%s is refused with\n%s (%s)\nwant\n%s", in, err, domain.Code(err), want)
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error shows the password: %v", in, err)
		}
	}
}

func TestConfig_Accepts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]esdb.Configuration{
		"esdb://host":                           {Address: "host:2113"},
		"kurrentdb://host:2114?tls=false":       {Address: "host:2114", DisableTLS: true},
		"esdb+discover://name":                  {Address: "name:2113", DnsDiscover: true},
		"KurrentDB+discover://u:p@name":         {Address: "name:2113", DnsDiscover: true, Username: "u", Password: "p"},
		" esdb://u%40x:p%2F%3A%25%2C@host ":     {Address: "host:2113", Username: "u@x", Password: "p/:%,"},
		"esdb://u:a,b:c@host":                   {Address: "host:2113", Username: "u", Password: "a,b:c"},
		"esdb://u@host":                         {Address: "host:2113", Username: "u", Password: "given"},
		"esdb://host?NodePreference=Leader":     {Address: "host:2113"},
		"esdb://host/?defaultDeadline=3000":     {Address: "host:2113"},
		"esdb://u:p@a:1,b:2,c?keepAliveTimeout": {},
	} {
		if strings.HasSuffix(in, "keepAliveTimeout") {
			in += "=10000"
		}
		cfg := Config{ConnectionString: in, Username: "other", Password: domain.NewSecret("given")}
		got, err := cfg.parse()
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if want.Username == "" && want.Address != "" {
			want.Username, want.Password = "other", "given"
		}
		if want.Address != "" && (got.Address != want.Address || got.DisableTLS != want.DisableTLS ||
			got.DnsDiscover != want.DnsDiscover || got.Username != want.Username || got.Password != want.Password ||
			got.NodePreference != esdb.NodePreferenceLeader) {
			t.Errorf("%s is read as %+v", in, *got)
		}
		if want.Address == "" && (&dialer{conf: got}).address() != "a:1,b:2,c:2113" {
			t.Errorf("%s is read as %+v", in, *got)
		}
	}
}

// TestConfig_IsNotPrinted: a Config in a log or an error shows no password.
func TestConfig_IsNotPrinted(t *testing.T) {
	t.Parallel()
	cfg := Config{ConnectionString: "esdb://admin:" + canary + "@host?tls=false", Password: domain.NewSecret(canary)}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "config", cfg)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "config", &cfg)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		fmt.Fprintf(&log, format+"\n"+format+"\n", cfg, &cfg)
	}
	for _, unreadable := range []string{"admin:%s@host", "esdb:/admin:%s@host", "https://a:%s@host", "esdb://a:%s%%@host",
		"esdb://a:%s?@host"} {
		fmt.Fprintln(&log, Config{ConnectionString: fmt.Sprintf(unreadable, canary)})
	}
	if strings.Contains(log.String(), canary) || strings.Contains(log.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("it is printed as\n%s", &log)
	}
	if !strings.Contains(log.String(), "esdb://host?tls=false") {
		t.Errorf("the address is not printed:\n%s", &log)
	}
}

// authority is a CA whose files are in a folder.
func authority(t *testing.T) (*esdbtest.CA, string) {
	t.Helper()
	ca, err := esdbtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Write(dir, "admin"); err != nil {
		t.Fatal(err)
	}
	return ca, dir
}

// TestOpen_SaysWhatIsWrong: each thing that can be wrong with a server has a message that names the fix.
func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	ca, dir := authority(t)
	other, otherDir := authority(t)
	_ = other
	const signIn = "check the user's name and password"
	trusted := "tlsCaFile=" + dir + "/ca.crt"
	for name, c := range map[string]struct {
		options  []esdbtest.Option
		stopped  bool
		user     string // with its password
		settings string
		code     string
		want     string // @ stands for the address
	}{
		"nothing listens": {stopped: true, settings: "tls=false", code: "eventstore_address",
			want: `the server @ can't be reached: connection error: desc = "transport: Error while dial` + `ing: dial tcp @: ` +
				`connect: connection refused": check the address, and whether it runs`},
		"TLS to a server without": {code: "eventstore_tls",
			want: "the server @ speaks no TLS: add ?tls=false to the connection string"},
		"no TLS to a server with": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, settings: "tls=false",
			code: "eventstore_tls", want: "the server @ hangs up on a connection without TLS: leave out tls=false, and name " +
				"the CA's PEM file by tlsCaFile="},
		"CA of nobody": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, user: "admin:changeit", code: "eventstore_ca",
			want: "the certificate of @ is signed by a CA that is not trusted here: name the CA's PEM file by tlsCaFile="},
		"another CA": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, user: "admin:changeit",
			settings: "tlsCaFile=" + otherDir + "/ca.crt", code: "eventstore_ca",
			want: "the certificate of @ is signed by a CA that is not trusted here: name the CA's PEM file by tlsCaFile="},
		"another host's certificate": {options: []esdbtest.Option{esdbtest.WithTLSFiles(files(t, ca, "db.example.com"))},
			user: "admin:changeit", settings: trusted, code: "eventstore_certificate",
			want: "the certificate of @ does not hold: cannot validate certificate for 127.0.0.1 because it doesn't contain " +
				"any IP SANs: use the name that it is for, or give the server another one"},
		"no user": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, settings: trusted, code: "eventstore_permission",
			want: "no user is given, and without one @ refuses this: Access Denied: name a user of the group $admins, and its " +
				"password"},
		"no password": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, user: "admin", settings: trusted,
			code: "eventstore_user", want: "no password is given for the user admin: give the user's password beside its name"},
		"wrong password": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, user: "admin:" + canary, settings: trusted,
			code: "eventstore_user", want: "the server @ refuses the user admin: *: " + signIn},
		"unknown user": {options: []esdbtest.Option{esdbtest.WithTLS(ca)}, user: "nobody:" + canary, settings: trusted,
			code: "eventstore_user", want: "the server @ refuses the user nobody: *: " + signIn},
		"user that may not read $all": {options: []esdbtest.Option{esdbtest.WithTLS(ca), esdbtest.WithUser("bob", canary)},
			user: "bob:" + canary, settings: trusted, code: "eventstore_permission",
			want: "the user bob may not do this on @: Access Denied: use a user of the group $admins, or give it read and " +
				"write access to $all and to the ledger's streams"},
		"old server": {options: []esdbtest.Option{esdbtest.WithVersion("22.10.5")}, settings: "tls=false",
			code: "eventstore_version", want: "the server @ is EventStoreDB 22.10.5, which is too old: use 23.10 or newer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := esdbtest.Start(t, c.options...)
			at := node.Address()
			if c.stopped {
				node.Stop()
			}
			var log bytes.Buffer
			cfg := Config{ConnectionString: "esdb://" + at + "?" + c.settings,
				Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
			if c.user != "" {
				cfg.ConnectionString = "esdb://" + c.user + "@" + at + "?" + c.settings
			}
			cfg.openFor = time.Minute // it is not waited for what does not mend itself
			if c.stopped {
				cfg.openFor = 100 * time.Millisecond
			}
			s, err := Open(t.Context(), cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("it opens")
			}
			before, after, open := strings.Cut(strings.ReplaceAll(c.want, "@", at), "*")
			if got := err.Error(); open && !(strings.HasPrefix(got, before) && strings.HasSuffix(got, after)) ||
				!open && got != before || domain.Code(err) != c.code {
				t.Errorf("it is refused with\n%s (%s)\nwant\n%s (%s)", got, domain.Code(err), c.want, c.code)
			}
			if strings.Contains(err.Error()+log.String(), canary) {
				t.Errorf("the password is in the error or the log:\n%v\n%s", err, &log)
			}
		})
	}
}

// files writes a node's certificate for a host, and gives its name, its key's and its CA's.
func files(t *testing.T, ca *esdbtest.CA, host string) (certificate, key, authority string) {
	t.Helper()
	cert, private, err := ca.Node(host)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")}
	for i, text := range [][]byte{cert, private, ca.PEM()} {
		if err := os.WriteFile(names[i], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return names[0], names[1], names[2]
}

// TestOpen_OverTLS: users with passwords, in the string or beside it, and user certificates.
func TestOpen_OverTLS(t *testing.T) {
	t.Parallel()
	ca, dir := authority(t)
	node := esdbtest.Start(t, esdbtest.WithTLS(ca), esdbtest.WithUserCertificates(), esdbtest.WithUser("admin", canary))
	at := node.Address() + "?tlsCaFile=" + dir + "/ca.crt"
	for name, cfg := range map[string]Config{
		"in the string": {ConnectionString: "esdb://admin:" + canary + "@" + at},
		"beside it":     {ConnectionString: "esdb://" + at, Username: "admin", Password: domain.NewSecret(canary)},
		"password only": {ConnectionString: "kurrentdb://admin@" + at, Password: domain.NewSecret(canary)},
		"certificate": {ConnectionString: "esdb://" + at + "&userCertFile=" + dir + "/admin.crt&userKeyFile=" + dir +
			"/admin.key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, cfg)
			on := freshStream()
			records := some(on, 2)
			if _, err := ledger.AppendKnown(t.Context(), s, on, domain.NoStream, records); err != nil {
				t.Fatal(err)
			}
			holds(t, s, on, records)
			if err := s.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestOpen_NoLeader: a cluster that has lost its leader is waited for, and then it is said.
func TestOpen_NoLeader(t *testing.T) {
	t.Parallel()
	cluster := esdbtest.StartCluster(t, 3)
	cluster.HoldElections()
	cluster.KillLeader()
	cfg := Config{ConnectionString: cluster.ConnectionString()}
	cfg.openFor, cfg.deadline = 200*time.Millisecond, 50*time.Millisecond
	_, err := Open(t.Context(), cfg)
	var refused *domain.Error
	if !errors.As(err, &refused) || refused.Code != "eventstore_no_leader" ||
		!strings.HasPrefix(refused.Detail, "no node behind 127.0.0.1:") ||
		refused.Fix != "start enough nodes for a majority, and look at their logs" {
		t.Errorf("it is refused with %v", err)
	}
	cluster.Elect()
	cfg.openFor, cfg.deadline = time.Minute, 0
	open(t, cfg)

	// One that is elected while we wait is waited for.
	cluster.HoldElections()
	cluster.ChangeLeader()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		openAny(t, cfg)
	}()
	cluster.Elect()
	<-opened
}

// TestOpen_AnotherProductsDatabase: what began with other streams is no ledger's.
func TestOpen_AnotherProductsDatabase(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]bool{"order-17": true, "event": true, "$custom": false, "$$order-17": false,
		"ledger-system.0": false, "delivery-default.dlv_1": false, "event-17": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := esdbtest.Start(t)
			cfg := Config{ConnectionString: node.ConnectionString()}
			appendRaw(t, node, name)
			s, err := Open(t.Context(), patient(cfg))
			if err == nil {
				defer s.Close()
			}
			want := "the database at " + node.Address() + " holds another product's streams: it began with " + name +
				": give the ledger a database of its own"
			if refused && (err == nil || err.Error() != want || domain.Code(err) != "eventstore_foreign") {
				t.Errorf("it is refused with\n%v (%s)\nwant\n%s", err, domain.Code(err), want)
			}
			if code := domain.Code(err); !refused && err != nil && code != "ledger_tampered" { // what we wrote is no record
				t.Errorf("it is refused with %v (%s)", err, code)
			}
			if refused {
				cfg.Shared = true
				open(t, cfg)
			}
		})
	}
}

// appendRaw appends an event that is no record.
func appendRaw(t *testing.T, node *esdbtest.Server, stream string) {
	t.Helper()
	bare, err := DialBare(t.Context(), Config{ConnectionString: node.ConnectionString()})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if _, err := bare.client.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{},
		esdb.EventData{EventType: "Ordered", Data: []byte("{}"), ContentType: esdb.ContentTypeJson}); err != nil {
		t.Fatal(err)
	}
}

// TestOpen_GivesUpWithItsContext: nothing is left behind.
func TestOpen_GivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	node := esdbtest.Start(t)
	node.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Config{ConnectionString: node.ConnectionString()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it ends with %v", err)
	}
}

// TestAppend_Refusals: what an append can be refused with, beside a conflict.
func TestAppend_Refusals(t *testing.T) {
	t.Parallel()
	var refusal error
	on := freshStream()
	node := esdbtest.Start(t, esdbtest.WithHooks(esdbtest.Hooks{Before: func(_ context.Context, c *esdbtest.Call) error {
		if c.Stream == string(on) && c.Events > 0 {
			return refusal
		}
		return nil
	}}))
	cfg := Config{ConnectionString: node.ConnectionString()}
	cfg.patience = time.Millisecond
	s := open(t, cfg)
	head := "append to " + string(on) + ": "
	for _, c := range []struct {
		refusal error
		want    string
		is      error
	}{
		{status.Error(codes.InvalidArgument, "Maximum Append Size of 65536 Exceeded."), head + "ledger: the append is too " +
			"large: the server takes less than 1048576 bytes: Maximum Append Size of 65536 Exceeded.", ledger.ErrTooLarge},
		{status.Error(codes.PermissionDenied, "Access Denied"), head + "ledger: the store is not available: the user (none " +
			"is given) may not do this on " + node.Address() + ": Access Denied: use a user of the group $admins, or give it " +
			"read and write access to $all and to the ledger's streams", ledger.ErrUnavailable},
		{status.Error(codes.Unauthenticated, "No"), head + "ledger: the store is not available: the server " +
			node.Address() + " refuses the user (none is given): No: check the user's name and password",
			ledger.ErrUnavailable},
	} {
		refusal = c.refusal
		_, err := s.Append(t.Context(), on, domain.NoStream, some(on, 1))
		if !errors.Is(err, c.is) || err.Error() != c.want {
			t.Errorf("%v is answered\n%v\nwant\n%s", c.refusal, err, c.want)
		}
	}
	refusal = nil
	odd := some("order-default.1", 1)
	if _, err := s.Append(t.Context(), "order-default.1", domain.NoStream, odd); !errors.Is(err, ledger.ErrInvalid) ||
		err.Error() != "append to order-default.1: ledger: invalid append: a ledger has no streams of that category" {
		t.Errorf("a stream of another category is answered %v", err)
	}
	for _, typ := range []string{"", "$metadata", "\xff"} {
		records := some(on, 1)
		records[0].Fact = &domain.Unknown{Type: typ, Version: 1, Data: []byte("{}")}
		if _, err := s.Append(t.Context(), on, domain.NoStream, records); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("an event of type %q is answered %v", typ, err)
		}
	}
	big := some(on, 1)
	big[0].Fact = &domain.EventReceived{ID: "evt_1", Source: strings.Repeat("x", domain.MaxAppend)}
	if _, err := s.Append(t.Context(), on, domain.NoStream, big); !errors.Is(err, ledger.ErrTooLarge) ||
		!strings.HasSuffix(err.Error(), " bytes, at most 1048576 are allowed") {
		t.Errorf("a large append is answered %v", err)
	}
	holds(t, s, on, nil)
}

// TestIgnored: without TLS no user is sent, which somebody who names one should hear.
func TestIgnored(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"esdb://admin:x@h?tls=false": "admin", "esdb://admin:x@h": "",
		"esdb://h?tls=false": "named", "esdb://h": "", "nonsense": ""} {
		cfg := Config{ConnectionString: text, Username: "named", Password: domain.NewSecret("x")}
		if got := cfg.Ignored(); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// TestDiagnose_Names holds the messages about what no test can bring about.
func TestDiagnose_Names(t *testing.T) {
	t.Parallel()
	d := &dialer{conf: &esdb.Configuration{Address: "db:2113", Username: "u", DisableTLS: true}}
	for text, want := range map[string]string{
		"name resolver error: produced zero addresses": "the name of db:2113 is not known: name resolver error: produced " +
			"zero addresses: check the address",
		"dial tcp: lookup db: no such host": "the name of db:2113 is not known: dial tcp: lookup db: no such host: check the " +
			"address",
		"connection error: desc = \"remote error: tls: certificate required\"": "TLS with db:2113 fails: certificate " +
			"required: check the server's and the user's certificates",
		"there are no members to determine the best candidate from": "no node behind db:2113 is the leader: there are no " +
			"members to determine the best candidate from: start enough nodes for a majority, and look at their logs",
	} {
		if got := d.diagnose(status.Error(codes.Unavailable, text)).Error(); got != want {
			t.Errorf("%s is said as\n%s\nwant\n%s", text, got, want)
		}
	}
	denied := d.diagnose(status.Error(codes.PermissionDenied, "Access Denied")).Error()
	if !strings.HasPrefix(denied, "the user u (without TLS no credentials are sent) may not do this on db:2113: ") {
		t.Error(denied)
	}
}
