package hookledger_test

import (
	"encoding/json"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookledger/ledger/eventstore/esdbtest"
)

// TestComposeRuns runs what the containers of hookledger run, outside of one: the service's command with the service's
// environment, and then its health check. The paths are other ones, and the addresses those of EventStoreDBs for tests.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	services := readCompose(t).Services
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s := services[name]
		if !s.ours() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContainer(t, s)
			c.knowsItsSettings(t)
			if out, err := c.command(t, s.Healthcheck.Test[1:]).CombinedOutput(); err == nil {
				t.Errorf("it is healthy before it runs:\n%s", out)
			}
			serve := start(t, c.command(t, append([]string{"/hookledger"}, s.Command...)))
			serve.await(t, "serving")
			if out, err := c.command(t, s.Healthcheck.Test[1:]).CombinedOutput(); err != nil {
				t.Errorf("it is not healthy: %v\n%s", err, out)
			}
			if err := serve.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			<-serve.done
			if out, err := c.command(t, s.Healthcheck.Test[1:]).CombinedOutput(); err == nil {
				t.Errorf("it is healthy when it has ended:\n%s", out)
			}
			for _, secret := range c.secrets {
				if strings.Contains(serve.output(), secret) {
					t.Errorf("a secret is in the log:\n%s", serve.output())
				}
			}
		})
	}
}

// container stands for one: a folder in place of its file system.
type container struct {
	root    string
	env     []string
	service composeService
	secrets []string
}

func newContainer(t *testing.T, s composeService) *container {
	t.Helper()
	c := &container{root: t.TempDir(), service: s}
	values := map[string]string{"master_key": strings.Repeat("0f", 32), "admin_key": "hl_" + strings.Repeat("Q", 43),
		"eventstore_password": "canary-of-the-password"}
	for _, name := range s.Secrets {
		c.write(t, "/run/secrets/"+name, values[name])
		c.secrets = append(c.secrets, values[name])
	}
	address := freeAddress(t)
	for v, value := range s.Environment {
		switch {
		case v == "HOOKLEDGER_LISTEN":
			value = address
		case v == "HOOKLEDGER_EVENTSTORE":
			value = c.eventstore(t, value, values["eventstore_password"])
		case v == "HOOKLEDGER_EVENTSTORE_USERNAME": // ${NAME:-default}
			_, value, _ = strings.Cut(strings.TrimSuffix(value, "}"), ":-")
		case strings.HasPrefix(value, "/"):
			value = c.root + value
		}
		c.env = append(c.env, v+"="+value)
	}
	// In a container the health check finds the server at the default address.
	c.env = append(c.env, "HOOKLEDGER_SERVER=http://"+address)
	return c
}

func (c *container) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(c.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// eventstore starts what the connection string names, and gives the string for it: the hosts are other ones, and the
// certificate of the CA is a file of the test's; all else stays.
func (c *container) eventstore(t *testing.T, conn, password string) string {
	t.Helper()
	hosts, query, _ := strings.Cut(strings.TrimPrefix(conn, "esdb://"), "?")
	if !strings.Contains(query, "tls=true") {
		return "esdb://" + esdbtest.Start(t).Address() + "?" + query
	}
	if hosts != "node1:2113,node2:2113,node3:2113" {
		t.Errorf("the cluster is at %s", hosts)
	}
	ca, err := esdbtest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	cluster := esdbtest.StartCluster(t, 3, esdbtest.WithTLS(ca), esdbtest.WithUser("admin", password, "$admins"))
	c.write(t, "/ca/ca.crt", string(ca.PEM()))
	at := strings.TrimPrefix(cluster.ConnectionString(), "esdb://")
	at, _, _ = strings.Cut(at, "?")
	return "esdb://" + at + "?" + strings.Replace(query, "tlsCaFile=/", "tlsCaFile="+c.root+"/", 1)
}

// command is a command of the container: /hookledger is the test's binary.
func (c *container) command(t *testing.T, args []string) *exec.Cmd {
	t.Helper()
	if args[0] != "/hookledger" {
		t.Fatalf("there is no %s in the image", args[0])
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaryDir(t), "hookledger"), args[1:]...)
	cmd.Dir, cmd.Env = c.root, c.env
	return cmd
}

// knowsItsSettings holds that each variable of ours is a setting of the binary, and is the one in force.
func (c *container) knowsItsSettings(t *testing.T) {
	t.Helper()
	out, err := c.command(t, []string{"/hookledger", "config", "show", "-o", "json"}).Output()
	if err != nil {
		t.Fatal(err)
	}
	var settings []struct{ Name, Source string }
	if err := json.Unmarshal(out, &settings); err != nil {
		t.Fatal(err)
	}
	from := map[string]bool{}
	for _, s := range settings {
		from[s.Source] = true
	}
	for v := range c.service.Environment {
		if !from[v] {
			t.Errorf("%s is no setting of hookledger's, or is not in force:\n%s", v, out)
		}
	}
	if strings.Contains(string(out), "canary") {
		t.Errorf("config show prints a secret:\n%s", out)
	}
	// What the image listens on is where a client finds it without a setting.
	if _, port, err := net.SplitHostPort(c.service.Environment["HOOKLEDGER_LISTEN"]); err != nil || port != "8420" {
		t.Errorf("it listens on %s: %v", c.service.Environment["HOOKLEDGER_LISTEN"], err)
	}
}
