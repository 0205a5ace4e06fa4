package eventstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/prometheus/client_golang/prometheus"

	"hookledger/domain"
)

// Config says where the database is and how to sign in.
type Config struct {
	// ConnectionString is EventStoreDB's own: esdb://host:2113, or esdb+discover://name for a cluster behind a DNS name.
	// kurrentdb:// and kurrentdb+discover:// stand for the same.
	ConnectionString string
	// Username and Password are used where the connection string has none.
	Username string
	Password domain.Secret
	// Metrics registers the store's metrics; nil: they are kept and shown nowhere.
	Metrics prometheus.Registerer
	// Logger gets what the store and the client have to say; nil: nobody.
	Logger *slog.Logger
	// Shared allows a database that began with another product's events. It is for tests on a server that others use:
	// a ledger's database belongs to it alone.
	Shared bool

	tuning
}

// tuning is what tests change. Zero values stand for the defaults.
type tuning struct {
	appendConns, perConn   int           // connections for appends; calls at once on each
	openFor, patience      time.Duration // how long Open waits for the database; how long a call that was never sent
	silence, lag           time.Duration // when a subscription that says nothing is made anew
	deadline               time.Duration // of one call
	tailRecords, chunk     int
	tailBytes              int64
	streams                int // whose revisions are remembered
	firstPause, laterPause time.Duration
}

// OpenFor is how long Open waits for a database that starts or elects a leader.
const OpenFor = 15 * time.Second

// Defaults. A server takes 100 calls at once on a connection, and lets the 101st wait without a word.
const (
	defaultAppendConns = 3
	defaultPerConn     = 90
	defaultOpenFor     = OpenFor
	defaultPatience    = 10 * time.Second
	defaultSilence     = 10 * time.Second
	defaultLag         = 2 * time.Second
	defaultDeadline    = 5 * time.Second
	defaultTailRecords = 32 << 10
	defaultTailBytes   = 24 << 20
	defaultChunk       = 1000
	defaultStreams     = 64 << 10
	defaultFirstPause  = 5 * time.Millisecond
	defaultLaterPause  = 500 * time.Millisecond
)

func (t *tuning) setDefaults() {
	number := func(n *int, otherwise int) {
		if *n == 0 {
			*n = otherwise
		}
	}
	span := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	number(&t.appendConns, defaultAppendConns)
	number(&t.perConn, defaultPerConn)
	number(&t.tailRecords, defaultTailRecords)
	number(&t.chunk, defaultChunk)
	number(&t.streams, defaultStreams)
	span(&t.openFor, defaultOpenFor)
	span(&t.patience, defaultPatience)
	span(&t.silence, defaultSilence)
	span(&t.lag, defaultLag)
	span(&t.firstPause, defaultFirstPause)
	span(&t.laterPause, defaultLaterPause)
	if t.tailBytes == 0 {
		t.tailBytes = defaultTailBytes
	}
}

// settings are the keys of a connection string, in lower case. Values of all but nodePreference are the client's to
// read.
var settings = []string{"tls", "tlsverifycert", "tlscafile", "usercertfile", "userkeyfile", "nodepreference",
	"maxdiscoverattempts", "discoveryinterval", "gossiptimeout", "keepaliveinterval", "keepalivetimeout",
	"defaultdeadline"}

const example = "esdb://user:password@host:2113, or esdb+discover://name:2113 for a cluster; ?tls=false without TLS"

// refuse is an error about how the store is set up.
func refuse(code, detail, fix string) *domain.Error {
	return domain.Refuse(domain.KindInvalid, code, detail, fix)
}

// parse makes the client's configuration. Credentials never reach the client's own parser, whose errors quote what they
// can't read.
func (c *Config) parse() (*esdb.Configuration, error) {
	text, err := rewriteScheme(strings.TrimSpace(c.ConnectionString))
	if err != nil {
		return nil, err
	}
	text, user, password, err := splitCredentials(text)
	if err != nil {
		return nil, err
	}
	if user == "" && password == "" {
		user, password = c.Username, c.Password.Reveal()
	} else if password == "" {
		password = c.Password.Reveal()
	}
	values, err := checkSettings(text)
	if err != nil {
		return nil, err
	}
	if err := checkFiles(values); err != nil {
		return nil, err
	}
	conf, err := esdb.ParseConnectionString(text)
	if err != nil {
		return nil, refuse("eventstore_address", "the connection string can't be read: "+err.Error(), "write "+example)
	}
	if user != "" && password == "" && !conf.DisableTLS && conf.UserCertFile == "" {
		return nil, refuse("eventstore_user", "no password is given for the user "+user,
			"give the user's password beside its name")
	}
	conf.Username, conf.Password = user, password
	conf.Logger = clientLog(c.Logger)
	return conf, nil
}

// Ignored names the user that the connection string or Username gives where none is sent, for there is no TLS; else "".
func (c *Config) Ignored() string {
	conf, err := c.parse()
	if err != nil || !conf.DisableTLS {
		return ""
	}
	return conf.Username
}

func rewriteScheme(text string) (string, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return "", refuse("eventstore_address", "the connection string has no scheme", "write "+example)
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "esdb", "esdb+discover":
	case "kurrentdb":
		scheme = "esdb"
	case "kurrentdb+discover":
		scheme = "esdb+discover"
	default:
		return "", refuse("eventstore_address",
			"the connection string's scheme is not one of esdb, esdb+discover, kurrentdb and kurrentdb+discover",
			"write "+example)
	}
	return scheme + "://" + rest, nil
}

// splitCredentials takes user and password out of the connection string.
func splitCredentials(text string) (without, user, password string, err error) {
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if strings.Contains(rest[end:], "@") {
		return "", "", "", refuse("eventstore_address", "the connection string has an @ behind the address",
			"write / ? # and @ in a user's name or password as %2F %3F %23 and %40")
	}
	if at < 0 {
		return text, "", "", nil
	}
	user, password, _ = strings.Cut(rest[:at], ":")
	if user, err = url.PathUnescape(user); err == nil {
		password, err = url.PathUnescape(password)
	}
	if err != nil { // it quotes what it can't read
		return "", "", "", refuse("eventstore_address", "the user's name or password has a % that begins no escape",
			"write % as %25")
	}
	if user == "" {
		return "", "", "", refuse("eventstore_address", "the connection string has a password and no user", "write "+example)
	}
	return scheme + "://" + rest[at+1:], user, password, nil
}

func checkSettings(text string) (url.Values, error) {
	_, query, _ := strings.Cut(text, "?")
	raw, err := url.ParseQuery(query)
	if err != nil {
		return nil, refuse("eventstore_setting", "the settings behind the ? can't be read: "+err.Error(),
			"write ?key=value&key=value")
	}
	values := url.Values{}
	for key, v := range raw {
		name := strings.ToLower(key)
		if !slices.Contains(settings, name) {
			return nil, refuse("eventstore_setting", "the connection string has the setting "+strconv.Quote(key)+
				", which is none", "use one of "+strings.Join(settings, ", "))
		}
		values[name] = v
	}
	if p := values.Get("nodepreference"); p != "" && !strings.EqualFold(p, "leader") {
		return nil, refuse("eventstore_node_preference",
			"nodePreference="+p+" reads from a node that may not have the newest records",
			"leave it out, or write nodePreference=leader")
	}
	if d := values.Get("defaultdeadline"); d != "" { // the client takes 0 for what it can't read
		if n, err := strconv.Atoi(d); err != nil || n < 1 {
			return nil, refuse("eventstore_setting", "defaultDeadline="+d+" is no number of milliseconds above 0",
				"leave it out, or write defaultDeadline=5000")
		}
	}
	return values, nil
}

// checkFiles reads the certificates once, so that what is wrong with them is said here and not at each connection.
func checkFiles(values url.Values) error {
	cert, key := values.Get("usercertfile"), values.Get("userkeyfile")
	if (cert == "") != (key == "") {
		return refuse("eventstore_user_certificate", "a user certificate needs both userCertFile and userKeyFile",
			"name both, or neither")
	}
	if cert != "" {
		if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
			return refuse("eventstore_user_certificate",
				"the user certificate "+cert+" with its key "+key+" can't be read: "+err.Error(),
				"name two PEM files that belong together")
		}
	}
	if name := values.Get("tlscafile"); name != "" {
		pem, err := os.ReadFile(name)
		if err != nil {
			return refuse("eventstore_ca", "the CA file can't be read: "+err.Error(), "name a PEM file by tlsCaFile")
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return refuse("eventstore_ca", "the CA file "+name+" holds no certificate", "name a PEM file by tlsCaFile")
		}
	}
	return nil
}

// clientLog hands the client's own lines on. They are about connections that come and go, for somebody who looks for
// the cause of something.
func clientLog(log *slog.Logger) esdb.LoggingFunc {
	if log == nil {
		return esdb.NoopLogging()
	}
	return func(level esdb.LogLevel, format string, args ...any) {
		if log.Enabled(context.Background(), slog.LevelDebug) {
			log.Debug("eventstore client: "+fmt.Sprintf(format, args...), "level", level)
		}
	}
}

// Format prints where the database is, and no credentials.
func (c Config) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.safe()) }

// LogValue is what a log shows: where the database is, and no credentials.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.safe()) }

func (c Config) safe() string {
	text, err := rewriteScheme(strings.TrimSpace(c.ConnectionString))
	if err == nil {
		text, _, _, err = splitCredentials(text)
	}
	if err != nil { // nobody knows where in it the credentials are
		return "a connection string that can't be read"
	}
	return text
}
