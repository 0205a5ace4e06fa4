package main

import (
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/domain"
)

// remote holds the flags of commands that talk to a server.
type remote struct {
	server  string
	tenant  string
	dataDir string
	keyFile string
	timeout time.Duration // of a request; 0: the client's own
}

func (r *remote) flags(flags *pflag.FlagSet) {
	flags.StringVar(&r.server, "server", defaultServer, "the server's URL")
	flags.StringVar(&r.tenant, "tenant", "", `the tenant that a platform key acts for (default "default")`)
	flags.StringVar(&r.dataDir, "data-dir", defaultDataDir,
		"the server's data directory, where it is this machine's: its admin.key is used without another key")
	flags.StringVar(&r.keyFile, "api-key-file", "", "file that holds the API key (HOOKLEDGER_API_KEY holds one itself)")
	asSetting(flags, "server", "tenant", "data-dir", "api-key-file")
}

// withRemote gives a command, or every command of a group, the flags of a client.
func withRemote(c *cobra.Command, r *remote) *cobra.Command {
	r.flags(c.PersistentFlags())
	return c
}

// connect makes the client.
func (a *app) connect(r *remote) (*apiclient.Client, error) {
	key, found, err := a.apiKey(r)
	if err != nil {
		return nil, err
	}
	tenant := r.tenant
	if found == adminKeyFile && tenant == "" {
		tenant = domain.DefaultTenant
	}
	return apiclient.New(apiclient.Config{Server: r.server, Key: key, Tenant: tenant, Fallback: domain.DefaultTenant,
		UserAgent: "hookledger/" + version, Timeout: r.timeout})
}

// apiKey finds the key: the one that was given, else, for a server on this machine, the admin key in its data
// directory. It says where it was found; that key never goes to another machine.
func (a *app) apiKey(r *remote) (domain.Secret, string, error) {
	if r.keyFile != "" {
		from := a.settings.source("api-key-file")
		if from == "flag" {
			from = "--api-key-file"
		} else if a.getenv(variable("api-key")) != "" {
			return domain.Secret{}, "", usage("HOOKLEDGER_API_KEY and HOOKLEDGER_API_KEY_FILE are both set", "unset one of them")
		}
		key, err := readSecret(r.keyFile, from)
		return key, from, err
	}
	if key, err := a.secret("API_KEY"); err != nil || !key.Empty() {
		return key, "HOOKLEDGER_API_KEY", err
	}
	if !local(r.server) {
		return domain.Secret{}, "", nil
	}
	path := filepath.Join(r.dataDir, adminKeyFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return domain.Secret{}, "", nil
	}
	if err != nil {
		return domain.Secret{}, "", usage("the admin key can't be read: "+err.Error(),
			"run as the server's user, or set HOOKLEDGER_API_KEY_FILE")
	}
	return domain.NewSecret(strings.TrimSpace(string(raw))), adminKeyFile, nil
}

// local says whether a URL names this machine by a loopback address or "localhost".
func local(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
