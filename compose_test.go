package hookledger_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
)

// No container engine runs here. What can be known without one is held: that the file says what it must, that every
// name of ours in it exists in the binary (compose_run_test.go runs it), and that every name of EventStoreDB's is one.

type composeFile struct {
	Services map[string]composeService
	Secrets  map[string]struct{ File string }
	Networks map[string]any
	Volumes  map[string]any
}

type composeService struct {
	Image       string
	Build       struct{ Context string }
	Entrypoint  []string
	Command     []string
	Profiles    []string
	Restart     string
	User        string
	ReadOnly    bool     `json:"read_only"`
	CapDrop     []string `json:"cap_drop"`
	SecurityOpt []string `json:"security_opt"`
	Ports       []string
	Environment map[string]string
	EnvFile     []string `json:"env_file"`
	Secrets     []string
	Volumes     []string
	Networks    any
	NetworkMode string                                `json:"network_mode"`
	DependsOn   map[string]struct{ Condition string } `json:"depends_on"`
	Healthcheck struct {
		Test    []string
		Retries int
	}
}

// ours says whether the service is hookledger.
func (s *composeService) ours() bool { return s.Build.Context != "" }

// once says whether the service ends when it has done its work.
func (s *composeService) once(name string) bool { return name == "certificates" }

// readCompose parses the file, with its anchors and merges resolved.
func readCompose(t *testing.T) composeFile {
	t.Helper()
	values, err := yaml.Parser().Unmarshal([]byte(read(t, "docker-compose.yml")))
	if err != nil {
		t.Fatalf("docker-compose.yml is no YAML: %v", err)
	}
	for name := range values {
		if !strings.HasPrefix(name, "x-") && !slices.Contains([]string{"name", "services", "secrets", "networks", "volumes"},
			name) {
			t.Errorf("docker-compose.yml: %s is no part of a compose file", name)
		}
	}
	raw, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	var f composeFile
	if err := json.Unmarshal(raw, &f); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return f
}

// pinned is an image with a tag that is a version.
var pinned = regexp.MustCompile(`^[a-z/-]+:[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9-]+)?$`)

func TestComposeServices(t *testing.T) {
	t.Parallel()
	f := readCompose(t)
	profiles := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Services)) {
		s := f.Services[name]
		for _, p := range s.Profiles {
			profiles[p] = append(profiles[p], name)
		}
		if len(s.Profiles) != 1 {
			t.Errorf("%s is in the profiles %v: one each, or it starts with all", name, s.Profiles)
		}
		if !s.ours() && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s is not pinned to a version", name, s.Image)
		}
		if !s.once(name) && (s.Restart != "always" || len(s.Healthcheck.Test) == 0 || s.Healthcheck.Retries == 0) {
			t.Errorf("%s: restart %q, health check %v", name, s.Restart, s.Healthcheck)
		}
		if !s.once(name) && (strings.HasPrefix(s.User, "0") || s.User == "" || !slices.Contains(s.CapDrop, "ALL")) {
			t.Errorf("%s runs as %q without %v", name, s.User, s.CapDrop)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", name)
		}
		if s.once(name) && s.NetworkMode != "none" {
			t.Errorf("%s has the network %q", name, s.NetworkMode)
		}
		for _, p := range s.Ports {
			if !s.ours() || !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s: hookledger alone does, on loopback", name, p)
			}
		}
		f.refersTo(t, name, s)
	}
	want := map[string][]string{"embedded": {"hookledger"}, "single": {"eventstore", "hookledger-single"},
		"cluster": {"certificates", "hookledger-cluster", "node1", "node2", "node3"}}
	if !maps.EqualFunc(profiles, want, slices.Equal) {
		t.Errorf("the profiles are %v", profiles)
	}
}

// refersTo holds that what a service names is declared, and what it waits for starts with it.
func (f *composeFile) refersTo(t *testing.T, name string, s composeService) {
	t.Helper()
	for other, on := range s.DependsOn {
		o, there := f.Services[other]
		if !there || !slices.Equal(o.Profiles, s.Profiles) {
			t.Errorf("%s waits for %s, which does not start with it", name, other)
		}
		want := "service_healthy"
		if o.once(other) {
			want = "service_completed_successfully"
		}
		if on.Condition != want {
			t.Errorf("%s waits until %s is %s, not %s", name, other, on.Condition, want)
		}
	}
	for _, v := range s.Volumes {
		volume, _, _ := strings.Cut(v, ":")
		if _, there := f.Volumes[volume]; !there || strings.HasPrefix(volume, ".") || strings.HasPrefix(volume, "/") {
			t.Errorf("%s: %s is no named volume", name, v)
		}
	}
	for _, secret := range s.Secrets {
		if at := f.Secrets[secret].File; !strings.HasPrefix(at, "./secrets/") {
			t.Errorf("%s: the secret %s is %q, no file in ./secrets", name, secret, at)
		}
	}
	networks, _ := s.Networks.(map[string]any)
	list, _ := s.Networks.([]any)
	for _, n := range append(list, slices.Collect(anyOf(maps.Keys(networks)))...) {
		if _, there := f.Networks[n.(string)]; !there && n != "default" {
			t.Errorf("%s: the network %s is not declared", name, n)
		}
	}
}

func anyOf(keys func(func(string) bool)) func(func(any) bool) {
	return func(yield func(any) bool) { keys(func(k string) bool { return yield(k) }) }
}

// TestComposeKeepsSecretsOut: neither in the file, nor in git, nor in the image.
func TestComposeKeepsSecretsOut(t *testing.T) {
	t.Parallel()
	for name, s := range readCompose(t).Services {
		for v, value := range s.Environment {
			if regexp.MustCompile(`(KEY|PASSWORD|SECRET)$`).MatchString(v) {
				t.Errorf("%s: %s=%s: give a secret as a file", name, v, value)
			}
			if strings.HasSuffix(v, "_FILE") && strings.HasPrefix(v, "HOOKLEDGER_") &&
				!slices.Contains(s.Secrets, strings.TrimPrefix(value, "/run/secrets/")) {
				t.Errorf("%s: %s=%s is no secret of it", name, v, value)
			}
			if strings.Contains(value, "@") {
				t.Errorf("%s: %s may hold a password", name, v)
			}
		}
	}
	if !strings.Contains(read(t, ".gitignore"), "\n/secrets/\n") {
		t.Error(".gitignore does not keep /secrets/ out")
	}
	if !strings.HasPrefix(strings.Split(read(t, ".dockerignore"), "\n")[1], "*") ||
		strings.Contains(read(t, ".dockerignore"), "!secrets") {
		t.Error(".dockerignore does not begin with leaving everything out")
	}
}

// TestComposeFitsTheImage: what the file says about hookledger's container is what the Dockerfile made.
func TestComposeFitsTheImage(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	for name, s := range readCompose(t).Services {
		if !s.ours() {
			continue
		}
		if s.User != d["USER"] || !s.ReadOnly {
			t.Errorf("%s runs as %s, the image as %s", name, s.User, d["USER"])
		}
		_, check, _ := strings.Cut(d["HEALTHCHECK"], " CMD ")
		got := jsonList(t, check)
		if !slices.Equal(append([]string{"CMD"}, got...), s.Healthcheck.Test) || got[0] != jsonList(t, d["ENTRYPOINT"])[0] {
			t.Errorf("%s: health check %v, the image's %v, its program %s", name, s.Healthcheck.Test, got, d["ENTRYPOINT"])
		}
		if !slices.Equal(s.Command, jsonList(t, d["CMD"])) {
			t.Errorf("%s runs %v, the image %s", name, s.Command, d["CMD"])
		}
		data := s.Environment["HOOKLEDGER_DATA_DIR"]
		if s.Environment["HOOKLEDGER_STORE"] == "eventstore" && (!strings.Contains(d["RUN"],
			" /out/lib/hookledger-embedded") || !slices.Contains(s.Volumes, "hookledger:/var/lib/hookledger-embedded")) {
			t.Errorf("%s does not see the embedded ledger: %v", name, s.Volumes)
		}
		if !slices.Contains(s.Volumes, name+":"+data) || !strings.Contains(d["ENV"], "HOOKLEDGER_DATA_DIR="+data) ||
			!slices.Contains(jsonList(t, d["VOLUME"]), data) {
			t.Errorf("%s: data in %s, volumes %v, the image's %s", name, data, s.Volumes, d["VOLUME"])
		}
		if _, port, _ := strings.Cut(s.Environment["HOOKLEDGER_LISTEN"], ":"); port != d["EXPOSE"] ||
			!slices.Equal(s.Ports, []string{"127.0.0.1:" + port + ":" + port}) {
			t.Errorf("%s listens on %s, publishes %v, the image exposes %s", name, port, s.Ports, d["EXPOSE"])
		}
	}
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	stages := strings.Split(d["FROM"], "\n")
	if len(stages) != 2 || !regexp.MustCompile(`^golang:1\.26\.[0-9]+-bookworm AS build$`).MatchString(stages[0]) ||
		stages[1] != "scratch" {
		t.Errorf("the stages are %q", stages)
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(d["USER"]) {
		t.Errorf("the user is %q", d["USER"])
	}
	for _, want := range []string{"CGO_ENABLED=0 go build -trimpath", "-X main.version=${VERSION}", "./cmd/hookledger"} {
		if !strings.Contains(d["RUN"], want) {
			t.Errorf("it does not run %s: %s", want, d["RUN"])
		}
	}
	for _, want := range []string{"/etc/ssl/certs/ca-certificates.crt", "--chown=" + d["USER"], "/out/hookledger " +
		jsonList(t, d["ENTRYPOINT"])[0]} {
		if !strings.Contains(d["COPY"], want) {
			t.Errorf("it does not copy %s: %s", want, d["COPY"])
		}
	}
	// The build gets what it reads: every folder with Go files of the program, and both files of the module.
	ignored := read(t, ".dockerignore")
	const ours = "{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", ours, "./cmd/hookledger").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.FieldsSeq(string(out)) {
		rel, err := filepath.Rel(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		if top, _, _ := strings.Cut(filepath.ToSlash(rel), "/"); !strings.Contains(ignored, "\n!"+top+"\n") {
			t.Errorf(".dockerignore leaves out %s, which the build reads", top)
		}
	}
}

// readDockerfile gives the instructions by name; those of one name are joined by line ends, and the last stage's single
// ones win.
func readDockerfile(t *testing.T) map[string]string {
	t.Helper()
	known := strings.Fields("FROM ARG WORKDIR COPY RUN LABEL ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD")
	out := map[string]string{}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "Dockerfile"), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if !slices.Contains(known, name) {
			t.Errorf("Dockerfile: %s is no instruction", name)
		}
		rest = strings.Join(strings.Fields(rest), " ")
		if old := out[name]; old != "" {
			rest = old + "\n" + rest
		}
		out[name] = rest
	}
	return out
}

func jsonList(t *testing.T, text string) []string {
	t.Helper()
	var out []string
	if err := json.Unmarshal([]byte(text), &out); err != nil || len(out) == 0 {
		t.Fatalf("%q is no list: %v", text, err)
	}
	return out
}

// eventstoreOptions are the options of EventStoreDB 23.10 that a compose file may need, as its documentation names them
// (docs/server/configuration of the tag oss-v23.10.6 of github.com/EventStore/EventStore; a node refuses to start with
// one that it does not know). The environment's name is EVENTSTORE_ and the option in upper case.
var eventstoreOptions = strings.Fields(`ADVERTISE_HOST_TO_CLIENT_AS CERTIFICATE_FILE CERTIFICATE_PRIVATE_KEY_FILE
	CLUSTER_DNS CLUSTER_SIZE DB DEFAULT_ADMIN_PASSWORD DEFAULT_OPS_PASSWORD DISABLE_ADMIN_UI DISABLE_LOG_FILE
	DISCOVER_VIA_DNS GOSSIP_SEED INDEX INSECURE LOG NODE_HOST_ADVERTISE_AS NODE_IP NODE_PORT REPLICATION_HOST_ADVERTISE_AS
	REPLICATION_IP REPLICATION_PORT RUN_PROJECTIONS TELEMETRY_OPTOUT TRUSTED_ROOT_CERTIFICATES_PATH`)

func TestComposeOfEventStoreDB(t *testing.T) {
	t.Parallel()
	f := readCompose(t)
	for name, s := range f.Services {
		for v := range s.Environment {
			if option, ok := strings.CutPrefix(v, "EVENTSTORE_"); ok && !slices.Contains(eventstoreOptions, option) {
				t.Errorf("%s: %s is no option of EventStoreDB", name, v)
			} else if !ok && !strings.HasPrefix(v, "HOOKLEDGER_") {
				t.Errorf("%s: whose is %s?", name, v)
			}
		}
		mounts := map[string]string{}
		for _, v := range s.Volumes {
			volume, at, _ := strings.Cut(v, ":")
			mounts[strings.TrimSuffix(at, ":ro")] = volume
		}
		if !strings.HasPrefix(s.Image, "eventstore/eventstore:") {
			continue
		}
		if !strings.HasPrefix(s.Image, "eventstore/eventstore:23.10.") ||
			s.Environment["EVENTSTORE_RUN_PROJECTIONS"] != "None" {
			t.Errorf("%s: %s, projections %s", name, s.Image, s.Environment["EVENTSTORE_RUN_PROJECTIONS"])
		}
		if mounts["/var/lib/eventstore"] != name {
			t.Errorf("%s keeps its data in %q", name, mounts["/var/lib/eventstore"])
		}
		if s.Environment["EVENTSTORE_INSECURE"] == "true" {
			continue
		}
		for option, under := range map[string]string{"EVENTSTORE_CERTIFICATE_FILE": "/certs",
			"EVENTSTORE_CERTIFICATE_PRIVATE_KEY_FILE": "/certs", "EVENTSTORE_TRUSTED_ROOT_CERTIFICATES_PATH": "/ca"} {
			if at := s.Environment[option]; !strings.HasPrefix(at, under) || mounts[under] == "" {
				t.Errorf("%s: %s=%s is not in a volume of %v", name, option, at, mounts)
			}
		}
		if mounts["/certs"] != "certs-"+name || mounts["/authority"] != "" {
			t.Errorf("%s sees the keys in %v", name, mounts)
		}
	}
	address := regexp.MustCompile(`172\.30\.240\.1([123])`)
	for _, n := range []string{"1", "2", "3"} {
		s := f.Services["node"+n]
		at := s.Networks.(map[string]any)["cluster"].(map[string]any)["ipv4_address"]
		if s.Environment["EVENTSTORE_REPLICATION_IP"] != at || at != "172.30.240.1"+n ||
			s.Environment["EVENTSTORE_ADVERTISE_HOST_TO_CLIENT_AS"] != "node"+n {
			t.Errorf("node%s is at %v: %v", n, at, s.Environment)
		}
		seeds := s.Environment["EVENTSTORE_GOSSIP_SEED"]
		if found := address.FindAllString(seeds, -1); len(found) != 2 || strings.Contains(seeds, "240.1"+n) {
			t.Errorf("node%s asks %s: the other two, and not itself", n, seeds)
		}
	}
}

// TestComposeCertificates runs the one-shot step with a generator that makes empty files and refuses, as the real one
// does, a directory that is there; twice, as a second up does.
func TestComposeCertificates(t *testing.T) {
	t.Parallel()
	s := readCompose(t).Services["certificates"]
	if !slices.Equal(s.Entrypoint, []string{"bash", "-euc"}) || len(s.Command) != 1 {
		t.Fatalf("it runs %v %v", s.Entrypoint, s.Command)
	}
	dir := t.TempDir()
	script := strings.ReplaceAll(s.Command[0], "$$", "$")
	for _, root := range []string{"/authority", "/ca/", "/node$n"} {
		script = strings.ReplaceAll(script, " "+root, " "+dir+root)
	}
	generator := `#!/bin/bash
set -eu
echo "$@" >> "` + dir + `/calls"
what=$1; shift
while [ $# -gt 0 ]; do case $1 in -out) out=$2;; esac; shift 2; done
mkdir "$out"
case $what in
create-ca) echo ca > "$out/ca.crt"; echo key > "$out/ca.key";;
create-node) touch "$out/node.crt" "$out/node.key";;
*) exit 9;;
esac
`
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{bin, dir + "/authority", dir + "/ca", dir + "/node1", dir + "/node2", dir + "/node3"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"es-gencert-cli": generator, "chown": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	calls := strings.Split(strings.TrimSpace(read(t, dir+"/calls")), "\n")
	if len(calls) != 4 || !strings.Contains(calls[3], "-ip-addresses 127.0.0.1,172.30.240.13 -dns-names localhost,node3") {
		t.Errorf("it called the generator with %q", calls)
	}
	if read(t, dir+"/ca/ca.crt") != "ca\n" {
		t.Error("the CA's certificate is not given out")
	}
}
