package esdbtest_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"hookledger/ledger/eventstore/esdbtest"
)

// secured is a node with TLS, and the folder of its certificates.
func secured(t *testing.T, options ...esdbtest.Option) (*esdbtest.Server, string) {
	t.Helper()
	ca, err := esdbtest.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Write(dir, "ledger", "stranger"))
	return esdbtest.Start(t, append([]esdbtest.Option{esdbtest.WithTLS(ca)}, options...)...), dir
}

// as gives a client of a secured node: "name:password", or "" for nobody, and more of the connection string.
func as(t *testing.T, server *esdbtest.Server, dir, login, more string) *esdb.Client {
	t.Helper()
	if login != "" {
		login += "@"
	}
	return clientOf(t, "esdb://"+login+server.Address()+"?tls=true&tlsCaFile="+dir+"/ca.crt"+more)
}

func try(t *testing.T, c *esdb.Client, stream string) error {
	t.Helper()
	_, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{}, someEvents(1)...)
	return err
}

// peek reads one event of a stream, or of $all.
func peek(t *testing.T, c *esdb.Client, stream string) error {
	t.Helper()
	var r *esdb.ReadStream
	var err error
	if stream == "$all" {
		r, err = c.ReadAll(t.Context(), esdb.ReadAllOptions{}, 1)
	} else {
		r, err = c.ReadStream(t.Context(), stream, esdb.ReadStreamOptions{}, 1)
	}
	must(t, err)
	defer r.Close()
	if _, err = r.Recv(); errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}

// The answers of a real node with TLS to who is nobody, or not who they say.
func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	server, dir := secured(t, esdbtest.WithUser("ledger", "secret"), esdbtest.WithUser("ops", "other"))
	for _, x := range []struct{ login, write, all string }{
		{"admin:changeit", "ok", "ok"},
		{"ledger:secret", "ok", "AccessDenied/PermissionDenied"},
		{"ledger:wrong", "Unauthenticated/Unauthenticated", "Unauthenticated/Unauthenticated"},
		{"nobody:secret", "Unauthenticated/Unauthenticated", "Unauthenticated/Unauthenticated"},
		{"ops:other", "ok", "AccessDenied/PermissionDenied"},
		{"ops:changeit", "Unauthenticated/Unauthenticated", "Unauthenticated/Unauthenticated"},
		{"", "AccessDenied/PermissionDenied", "AccessDenied/PermissionDenied"},
	} {
		c := as(t, server, dir, x.login, "")
		err := try(t, c, "s")
		same(t, x.login+" appends", x.write, answerOf(err))
		if strings.HasPrefix(x.write, "AccessDenied") && !strings.Contains(err.Error(), "Access Denied") {
			t.Errorf("%s is told %v", x.login, err)
		}
		same(t, x.login+" reads $all", x.all, answerOf(peekError(peek(t, c, "$all"))))
	}
	same(t, "version, as nobody", "ok", answerOf(second(as(t, server, dir, "", "").GetServerVersion())))
}

// peekError makes what a read returns look like what other calls do: reads give the bare gRPC error.
func peekError(err error) error {
	var e *esdb.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("read: %w", err)
}

func TestAccessLists(t *testing.T) {
	t.Parallel()
	server, dir := secured(t, esdbtest.WithUser("ledger", "secret", "writers"), esdbtest.WithUser("stranger", "secret"))
	admin, ledger, stranger := as(t, server, dir, "admin:changeit", ""), as(t, server, dir, "ledger:secret", ""),
		as(t, server, dir, "stranger:secret", "")
	const denied = "AccessDenied/PermissionDenied"

	// A stream's own list names users or their groups; administrators are always let in.
	mustAppend(t, admin, "$$own", esdb.EventData{EventID: someEvents(1)[0].EventID, EventType: "$metadata",
		ContentType: esdb.ContentTypeJson, Data: []byte(`{"$acl":{"$w":"writers","$r":["stranger"],"$mw":[]}}`)})
	same(t, "writer appends", "ok", answerOf(try(t, ledger, "own")))
	same(t, "reader appends", denied, answerOf(try(t, stranger, "own")))
	same(t, "admin appends", "ok", answerOf(try(t, admin, "own")))
	same(t, "writer reads", denied, answerOf(peek(t, ledger, "own")))
	same(t, "reader reads", "ok", answerOf(peek(t, stranger, "own")))
	same(t, "writer changes the list", denied, answerOf(try(t, ledger, "$$own")))

	// System streams, $all among them, are the administrators', until the settings say otherwise.
	same(t, "system stream", denied, answerOf(try(t, ledger, "$mine")))
	same(t, "$all", denied, answerOf(peek(t, ledger, "$all")))
	mustAppend(t, admin, "$settings", esdb.EventData{EventID: someEvents(1)[0].EventID, EventType: "update-default-acl",
		ContentType: esdb.ContentTypeJson,
		Data:        []byte(`{"$systemStreamAcl":{"$r":["ledger"]},"$userStreamAcl":{"$w":"ledger"}}`)})
	same(t, "$all, allowed", "ok", answerOf(peek(t, ledger, "$all")))
	same(t, "$all, not allowed", denied, answerOf(peek(t, stranger, "$all")))
	same(t, "any stream, not allowed", denied, answerOf(try(t, stranger, "s")))

	// Groups are made by administrators and operators, and consumed by who may read.
	same(t, "a user makes a group", denied, answerOf(makeGroup(t, ledger, "own", "g", nil)))
	same(t, "an operator does", "ok", answerOf(makeGroup(t, as(t, server, dir, "ops:changeit", ""), "own", "g", nil)))
	same(t, "a reader consumes", "ok", answerOf(second(tryJoin(t, stranger, "own", "g", 1))))
	same(t, "who may not read does not", denied, answerOf(second(tryJoin(t, ledger, "own", "g", 1))))
	// What a list does not say is as if there was none.
	same(t, "writer deletes, of which the list says nothing", "ok", answerOf(second(
		ledger.DeleteStream(t.Context(), "own", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}}))))
	same(t, "consumer", "stranger", infoOf(t, stranger, "own", "g").Connections[0].Username)
}

// What goes wrong before anybody is asked who they are, in the words that a client sees.
func TestTLS(t *testing.T) {
	t.Parallel()
	server, dir := secured(t)
	_, otherCA := secured(t)
	once := func(to string) error {
		t.Helper()
		config, err := esdb.ParseConnectionString(to)
		must(t, err)
		config.Logger, config.MaxDiscoverAttempts, config.DiscoveryInterval = esdb.NoopLogging(), 1, 1
		c, err := esdb.NewClient(config)
		must(t, err)
		return try(t, c, "s")
	}
	const untrusted, notTLS = "certificate signed by unknown authority", "first record does not look like a TLS handshake"
	plain := esdbtest.Start(t)
	for what, x := range map[string]struct{ to, want string }{
		"no CA": {"esdb://admin:changeit@" + server.Address() + "?tls=true", untrusted},
		"wrong CA": {"esdb://admin:changeit@" + server.Address() + "?tls=true&tlsCaFile=" + otherCA + "/ca.crt",
			untrusted},
		// EOF was recorded; a connection that is closed before all of the client's preface was read is reset.
		"no TLS":      {"esdb://" + server.Address() + "?tls=false", "error reading server preface: "},
		"right one":   {"esdb://admin:changeit@" + server.Address() + "?tls=true&tlsCaFile=" + dir + "/ca.crt", "<nil>"},
		"unchecked":   {"esdb://admin:changeit@" + server.Address() + "?tls=true&tlsVerifyCert=false", "<nil>"},
		"TLS to none": {"esdb://" + plain.Address() + "?tls=true", notTLS},
	} {
		if err := once(x.to); !strings.Contains(fmt.Sprint(err), x.want) {
			t.Errorf("%s: %v, want %q", what, err, x.want)
		}
	}
}

func TestUserCertificates(t *testing.T) {
	t.Parallel()
	const more = "&userCertFile=%[1]s/ledger.crt&userKeyFile=%[1]s/ledger.key"
	accepting, dir := secured(t, esdbtest.WithUserCertificates(), esdbtest.WithUser("ledger", "secret"))
	ignoring, dir2 := secured(t, esdbtest.WithUser("ledger", "secret"))
	same(t, "accepted", "ok", answerOf(try(t, as(t, accepting, dir, "", fmt.Sprintf(more, dir)), "s")))
	same(t, "not accepted", "AccessDenied/PermissionDenied",
		answerOf(try(t, as(t, ignoring, dir2, "", fmt.Sprintf(more, dir2)), "s")))
	same(t, "of no user", "AccessDenied/PermissionDenied", answerOf(try(t, as(t, accepting, dir, "",
		strings.ReplaceAll(fmt.Sprintf(more, dir), "ledger", "stranger")), "s")))
	same(t, "a password counts more", "Unauthenticated/Unauthenticated",
		answerOf(try(t, as(t, accepting, dir, "ledger:wrong", fmt.Sprintf(more, dir)), "s")))
}

// A cluster with TLS: gossip needs no login, and the leader is found.
func TestSecuredCluster(t *testing.T) {
	t.Parallel()
	ca, err := esdbtest.NewCA()
	must(t, err)
	dir := t.TempDir()
	must(t, ca.Write(dir))
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithTLS(ca))
	to := strings.Replace(cluster.ConnectionString(), "esdb://", "esdb://admin:changeit@", 1)
	c := clientOf(t, to+"&tlsCaFile="+dir+"/ca.crt")
	mustAppend(t, c, "s", someEvents(1)...)
	cluster.KillLeader()
	eventually(t, c, "t", someEvents(1)...)
}

func TestOptionsThatCannotBe(t *testing.T) {
	t.Parallel()
	for what, o := range map[string]esdbtest.Option{
		"a user without a name":   esdbtest.WithUser("", "secret"),
		"a colon in a user name":  esdbtest.WithUser("a:b", "secret"),
		"certificates not there":  esdbtest.WithTLSFiles("/none/node.crt", "/none/node.key", "/none/ca.crt"),
		"an address without port": esdbtest.WithAddress("127.0.0.1"),
	} {
		if s, err := esdbtest.New(o); err == nil {
			s.Close()
			t.Errorf("%s is taken", what)
		}
	}
	if c, err := esdbtest.NewCluster(0); err == nil {
		c.Close()
		t.Error("a cluster of no nodes is taken")
	}
}
