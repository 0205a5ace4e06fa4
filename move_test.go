package hookledger_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const esdbPage = "docs/eventstoredb.md"

// TestEventStoreDBPage runs the commands of docs/eventstoredb.md in their order, against the EventStoreDB for tests
// that the page itself starts. Lines of docker are looked at, and run as far as they are ours.
func TestEventStoreDBPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	p := &pageReader{reader: r, address: freeAddress(t)}
	r.env = append(r.env, "PATH="+binaryDir(t)+string(os.PathListSeparator)+os.Getenv("PATH"))
	for line := range commands(read(t, esdbPage)) {
		p.run(line)
	}
	if d := p.digests; len(d) != 4 || d[0] != d[1] || d[2] != d[3] {
		t.Errorf("info printed %q: the same before and after each move", d)
	}
	if p.docker < 7 {
		t.Errorf("only %d lines of docker were looked at", p.docker)
	}
	p.checkSecrets()
}

// pageReader reads a page at a terminal.
type pageReader struct {
	*reader
	address string // in place of 127.0.0.1:2113
	serving *process
	digests []string
	docker  int
}

var digest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

func (p *pageReader) run(line string) {
	p.t.Helper()
	line = strings.ReplaceAll(line, "127.0.0.1:2113", p.address)
	fields := strings.Fields(line)
	switch {
	case fields[0] == "docker":
		p.docker++
		p.look(fields)
	case fields[0] == "export":
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		p.env = append(p.env, name+"="+strings.Trim(value, "'"))
	case strings.HasPrefix(line, "go run ./ledger/eventstore/esdbtest/serve "):
		start(p.t, p.prepare(".", p.built(line))).await(p.t, "esdb://"+regexp.QuoteMeta(p.address))
	case strings.HasPrefix(line, "hookledger serve"):
		p.serving = start(p.t, p.prepare(p.dir, "exec "+line))
		p.serving.await(p.t, "serving")
	default:
		p.stop() // the page has said that no server may run
		if out := p.command(p.dir, line); strings.HasPrefix(line, "hookledger ledger info") {
			p.digests = append(p.digests, digest.FindString(out))
		}
	}
}

// built builds what "go run" would, so that it ends with the test and not with the go command.
func (p *pageReader) built(line string) string {
	p.t.Helper()
	binary := filepath.Join(p.dir, "esdb")
	pkg := strings.Fields(line)[2]
	if out, err := exec.CommandContext(p.t.Context(), "go", "build", "-o", binary, pkg).CombinedOutput(); err != nil {
		p.t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return "exec " + binary + strings.TrimPrefix(line, "go run "+pkg)
}

func (p *pageReader) stop() {
	if p.serving != nil {
		_ = p.serving.cmd.Process.Signal(os.Interrupt)
		<-p.serving.done
		p.serving = nil
	}
}

// look holds that what a line of docker names is in docker-compose.yml, and runs what is ours of it.
func (p *pageReader) look(line []string) {
	p.t.Helper()
	f := readCompose(p.t)
	var verb string
	for i := 2; i < len(line); i++ {
		switch word := line[i]; {
		case line[1] != "compose":
			p.t.Fatalf("%s is no line of docker compose", line)
		case word == "--profile":
			i++
			if !slices.ContainsFunc(slices.Collect(services(f)), func(s composeService) bool {
				return slices.Contains(s.Profiles, line[i])
			}) {
				p.t.Errorf("%s: there is no profile %s", line, line[i])
			}
		case word == "-d", word == "--rm":
		case verb == "":
			verb = word
			if !slices.Contains([]string{"up", "stop", "run"}, verb) {
				p.t.Errorf("%s: what does %s do?", line, verb)
			}
		default:
			s, there := f.Services[word]
			if !there {
				p.t.Fatalf("%s: there is no service %s", line, word)
			}
			if verb == "run" {
				p.inContainer(s, line[i+1:])
				return
			}
		}
	}
}

func services(f composeFile) func(func(composeService) bool) {
	return func(yield func(composeService) bool) {
		for _, s := range f.Services {
			if !yield(s) {
				return
			}
		}
	}
}

// inContainer runs a command of the image with the service's environment, over a ledger like the one that its volume
// would hold.
func (p *pageReader) inContainer(s composeService, args []string) {
	p.t.Helper()
	c := newContainer(p.t, s)
	before := c.command(p.t, append([]string{"/hookledger"}, s.Command...))
	before.Env = append(slices.DeleteFunc(slices.Clone(before.Env), func(v string) bool {
		return strings.HasPrefix(v, "HOOKLEDGER_STORE=") || strings.HasPrefix(v, "HOOKLEDGER_EVENTSTORE")
	}), "HOOKLEDGER_DATA_DIR="+c.root+"/var/lib/hookledger-embedded")
	embedded := start(p.t, before)
	embedded.await(p.t, "serving")
	_ = embedded.cmd.Process.Signal(os.Interrupt)
	<-embedded.done
	for i, a := range args {
		if strings.HasPrefix(a, "/var/lib/") {
			args[i] = c.root + a
		}
	}
	var errs strings.Builder
	move := c.command(p.t, append([]string{"/hookledger"}, append(args, "-o", "json")...))
	move.Stderr = &errs
	out, err := move.Output()
	var done struct {
		From string `json:"digest_from"`
		To   string `json:"digest_to"`
	}
	if err != nil || json.Unmarshal(out, &done) != nil || done.From == "" || done.From != done.To {
		p.t.Fatalf("%s: %v\n%s%s", args, err, out, errs.String())
	}
	serve := start(p.t, c.command(p.t, append([]string{"/hookledger"}, s.Command...)))
	serve.await(p.t, "serving")
}

// checkSecrets looks at what the page had made: keys that are keys, and one password in both places.
func (p *pageReader) checkSecrets() {
	p.t.Helper()
	secret := func(name string) string {
		return strings.TrimSpace(read(p.t, filepath.Join(p.dir, "secrets", name)))
	}
	if key, err := base64.StdEncoding.DecodeString(secret("master.key")); err != nil || len(key) != 32 {
		p.t.Errorf("the master key has %d bytes: %v", len(key), err)
	}
	if !regexp.MustCompile(`^hl_[A-Za-z0-9_-]{43}$`).MatchString(secret("admin.key")) {
		p.t.Error("the admin key is none")
	}
	password := secret("eventstore.password")
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(password) || !regexp.MustCompile(
		`^EVENTSTORE_DEFAULT_ADMIN_PASSWORD=`+password+`\nEVENTSTORE_DEFAULT_OPS_PASSWORD=[0-9a-f]{32}$`).MatchString(
		secret("eventstore.env")) {
		p.t.Error("the passwords are not what they should be")
	}
	if info, err := os.Stat(filepath.Join(p.dir, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		p.t.Errorf("the secrets are open to others: %v %v", info.Mode(), err)
	}
}
