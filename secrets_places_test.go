package hookledger_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"hookledger/domain"
)

// idsFor gives what the {id} of a path can be.
func (k *keeper) idsFor(path string) (out []string) {
	for of, id := range k.made {
		if prefix, _, _ := strings.Cut(of, " "); strings.HasPrefix(path, prefix+"/") {
			out = append(out, id)
		}
	}
	return out
}

// readAPI reads every page that the API documents, with a key of each role, and without one.
func (k *keeper) readAPI() {
	k.t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(k.text("/openapi.json"), &doc); err != nil {
		k.t.Fatal(err)
	}
	keys := map[string]string{"administrator": k.key, "nobody": ""}
	for _, role := range domain.Roles() {
		keys[string(role)] = k.secrets["key of role "+string(role)]
	}
	for path, methods := range doc.Paths {
		if methods["get"] == nil {
			continue
		}
		pages := []string{path}
		if at := strings.IndexByte(path, '{'); at >= 0 {
			pages = nil
			for _, id := range k.idsFor(path) {
				pages = append(pages, path[:at]+id+path[strings.IndexByte(path, '}')+1:])
			}
			if len(pages) == 0 {
				k.t.Errorf("nothing was made whose id %s could have", path)
			}
		}
		for _, page := range pages {
			for who, key := range keys {
				where := "GET " + page + " as " + who
				k.places[where] = k.ask(key, http.MethodGet, page, "")
				k.seeURLs[where] = who == "administrator" || who == "admin" || who == "operator"
			}
			k.places["GET "+page+", its end"] = k.ask(k.key, http.MethodGet, page+"?limit=1&nothing=such", "")
		}
	}
}

// ask gives the whole answer, whatever its status.
func (k *keeper) ask(key, method, path, body string) string {
	k.t.Helper()
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if key == k.key {
		req.Header.Set("Hookledger-Tenant", "default")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if err := resp.Header.Write(&text); err != nil {
		k.t.Fatal(err)
	}
	if _, err := io.Copy(&text, resp.Body); err != nil {
		k.t.Fatal(err)
	}
	return text.String()
}

// silent are the commands that show nothing of a server, each with the reason; every other one is run.
var silent = map[string]string{
	"bench": "has a server of its own", "demo": "likewise", "serve": "is the server: its log is read",
	"listen": "runs on", "receive": "runs on", "record tail": "runs on", "replay watch": "runs on",
	"completion": "knows no server", "help": "likewise", "version": "likewise", "signature sign": "likewise",
	"signature verify": "likewise", "event send": "shows its receipt", "recover": "makes a replay",
	"ledger copy": "needs a ledger that no server holds", "ledger info": "likewise", "projection rebuild": "likewise",
	"projection drop": "likewise",
}

// changing are the words of commands that change something; what they show is what the API answers.
const changing = " create update delete add remove revoke rotate-token rotate-secret enable disable retry cancel pause " +
	"resume retry-failures test "

// readCommands runs every command that shows something, in each format.
func (k *keeper) readCommands() {
	k.t.Helper()
	id := func(of string) string { return k.idsFor(of + "/")[0] }
	args := map[string][]string{
		"endpoint get": k.idsFor("/v1/endpoints/"), "endpoint health": k.idsFor("/v1/endpoints/"),
		"endpoint history": k.idsFor("/v1/endpoints/"), "endpoint keys": k.idsFor("/v1/endpoints/"),
		"source get": k.idsFor("/v1/sources/"), "attempt get": k.idsFor("/v1/attempts/"),
		"attempt curl": k.idsFor("/v1/attempts/"), "delivery get": k.idsFor("/v1/deliveries/"),
		"event get": {id("/v1/events")}, "query event": {id("/v1/events")}, "query routing": {"agent.status_changed"},
		"replay get": {id("/v1/replays")}, "replay failures": {id("/v1/replays")}, "tenant get": {"default"},
		"event-type get": {"agent.status_changed"}, "reconcile get": {id("/v1/reconciliations")},
	}
	env := append(os.Environ(), "HOOKLEDGER_SERVER="+k.url, "HOOKLEDGER_API_KEY="+k.key,
		"HOOKLEDGER_MASTER_KEY="+k.secrets["master key"], "HOOKLEDGER_ADMIN_KEY="+k.key,
		"HOOKLEDGER_SECRET="+k.secrets["signing secret given"], "HOOKLEDGER_SOURCE_PASSWORD=canary-fleet",
		"HOOKLEDGER_SOURCE_API_KEY="+k.secrets["API key of a source"])
	for _, command := range k.leaves(nil) {
		words := strings.Fields(command)
		if silent[command] != "" || strings.Contains(changing, " "+words[len(words)-1]+" ") {
			continue
		}
		each := args[command]
		if each == nil {
			each = []string{""}
		}
		for _, arg := range each {
			for _, format := range []string{"table", "json", "csv"} {
				all := append(append(append([]string{}, words...), strings.Fields(arg)...), "-o", format)
				if command == "reconcile" {
					all = append(all, "--period", "2026-03", "--dry-run")
				}
				out, code := k.run(env, all...)
				if mail := command == "attempt curl" && strings.Contains(out, "this attempt sent a mail"); code != 0 && !mail {
					k.t.Errorf("$ hookledger %s: exit code %d\n%s", strings.Join(all, " "), code, out)
				}
				k.places["$ hookledger "+strings.Join(all, " ")] = out
				k.seeURLs["$ hookledger "+strings.Join(all, " ")] = true
			}
		}
	}
}

// leaves are the commands below some words, as the shell's completion knows them.
func (k *keeper) leaves(words []string) (out []string) {
	k.t.Helper()
	text, _ := k.run(os.Environ(), append(append([]string{"__complete"}, words...), "")...)
	for line := range strings.Lines(text) {
		name, says, below := strings.Cut(strings.TrimSpace(line), "\t")
		if !below || says == "" || strings.HasPrefix(name, "-") {
			continue
		}
		out = append(out, k.leaves(append(append([]string{}, words...), name))...)
	}
	if len(out) == 0 || len(words) > 0 && words[0] == "reconcile" {
		out = append(out, strings.Join(words, " "))
	}
	return out
}

// run gives all that a command prints, and its exit code.
func (k *keeper) run(env []string, args ...string) (string, int) {
	k.t.Helper()
	cmd := exec.CommandContext(k.t.Context(), filepath.Join(binaryDir(k.t), "hookledger"), args...)
	cmd.Env, cmd.Dir = env, k.t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		k.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// mistakes are secrets that were given in a wrong form or place.
func (k *keeper) mistakes() map[string]string {
	out := map[string]string{"bare mistake": "canary0mistake", "long mistake": strings.Repeat("canary1mistake", 500),
		"mistaken signing secret": "whsec_canary2mistake", "mistaken private key": "whsk_canary3mistake"}
	maps.Copy(k.secrets, out)
	return out
}

// complainByAPI sends each mistake where it is wrong, and where it is cut off.
func (k *keeper) complainByAPI() {
	k.t.Helper()
	for kind, secret := range k.mistakes() {
		bad, err := json.Marshal(secret + "\r\n\x00!")
		if err != nil {
			k.t.Fatal(err)
		}
		value := string(bad)
		const endpoint = `{"event_types":["*"],"url":"https://example.com/",`
		for i, body := range []string{
			endpoint + `"headers":{"X-Key":` + value + `}}`, endpoint + `"headers":{"Host":` + value + `}}`,
			endpoint + `"headers":{"X-Key":[` + value + `]}}`, endpoint + `"headers":` + value + `}`,
			endpoint + `"auth":{"type":"basic","username":"a:b","password":` + value + `}}`,
			endpoint + `"auth":{"type":"bearer","password":` + value + `}}`, endpoint + `"auth":` + value + `}`,
			endpoint + `"auth":{"type":"bearer","token":` + value + `}}`, endpoint + `"secret":` + value + `}`,
			endpoint + `"scheme":"v1a","secret":` + value + `}`, endpoint + `"secret":[` + value + `]}`,
			endpoint + `"client_cert":{"chain":"-","key":` + value + `}}`, endpoint + `"client_cert":` + value + `}`,
			endpoint + `"legacy_signature":{"header":"Host","secret":` + value + `}}`, endpoint + `"secret":` + value[:9],
			endpoint + `"kind":"telegram","telegram":{"chat_id":"@ops_channel","token":` + value + `}}`,
			endpoint + `"kind":"email","email":{"server":"x","password":` + value + `}}`, endpoint + `"secret":"` + secret,
			`{"event_types":["*"],"kind":"slack","url":` + value + `}`, `{"event_types":["*"],"url":"https://u:` + secret +
				`@example.com/"}`, `{"event_types":["*"],"kind":"slack","url":"ftp://example.com/` + secret + `"}`,
		} {
			where := fmt.Sprintf("endpoint %d that is wrong by the %s", i, kind)
			k.places[where] = k.ask(k.key, http.MethodPost, "/v1/endpoints", body)
			patch := k.made["/v1/endpoints plain"]
			k.places[where+", as a change"] = k.ask(k.key, http.MethodPatch, "/v1/endpoints/"+patch, body)
		}
		const fleet = `{"kind":"agenfleet","agenfleet":{"url":"http://127.0.0.1:1/",`
		for i, body := range []string{
			fleet + `"auth":"login","email":` + value + `}}`, fleet + `"email":"a","password":[` + value + `]}}`,
			fleet + `"auth":"api_key","password":` + value + `}}`, fleet + `"auth":"api_key","api_key":[` + value + `]}}`,
			`{"kind":"agenfleet","agenfleet":{"url":"http://u:` + secret + `@127.0.0.1:1/","email":"a","password":"b"}}`,
		} {
			k.places[fmt.Sprintf("source %d that is wrong by the %s", i, kind)] = k.ask(k.key, http.MethodPost,
				"/v1/sources", body)
		}
		k.places["the "+kind+" as a key"] = k.ask("hl_"+secret+"x", http.MethodGet, "/v1/endpoints", "")
		k.places["the "+kind+" as a token"] = k.ask("", http.MethodPost, "/in/cron/"+url.PathEscape(secret), "{}")
	}
	for where, answer := range k.places {
		if strings.Contains(where, "wrong by") && !strings.Contains(answer, `"code":`) {
			k.t.Errorf("%s is taken: %s", where, answer)
		}
	}
}

// complainByCommands gives each mistake to every command that takes a secret.
func (k *keeper) complainByCommands() {
	k.t.Helper()
	for _, kind := range []string{"bare mistake", "mistaken signing secret"} {
		secret := k.mistakes()[kind]
		env := append(os.Environ(), "HOOKLEDGER_SERVER="+k.url, "HOOKLEDGER_API_KEY="+k.key)
		file := filepath.Join(k.t.TempDir(), "secret")
		if err := os.WriteFile(file, []byte(secret+"\nanother line\n"), 0o600); err != nil {
			k.t.Fatal(err)
		}
		create := "endpoint create --events * --url https://example.com/ "
		for i, c := range []struct{ env, args string }{
			{"", create + "--auth-basic " + secret}, {"", create + "--auth-bearer @" + file},
			{"", create + "--secret-file " + file}, {"", create + "--scheme v1a --secret-file " + file},
			{"", create + "--header " + secret}, {"", create + "--header Host=" + secret},
			{"", create + "--client-cert " + file + " --client-key " + file},
			{"", create + "--legacy-header Host --legacy-secret-file " + file},
			{"", "endpoint create --events * --kind telegram --chat-id @ops_channel --token-file " + file},
			{"", "endpoint create --events * --kind email --smtp x --from a --to b --username u --password-file " + file},
			{"", "endpoint create --events * --url https://u:" + secret + "@example.com/"},
			{"HOOKLEDGER_SOURCE_PASSWORD=" + secret, "source add --kind agenfleet --url ftp://example.com/ --email a"},
			{"HOOKLEDGER_SOURCE_API_KEY=" + secret, "source add --kind cron --window wrong"},
			{"HOOKLEDGER_API_KEY=hl_" + secret + "x", "endpoint list"},
			{"HOOKLEDGER_API_KEY=" + secret, "endpoint list --server http://127.0.0.1:1"},
			{"HOOKLEDGER_API_KEY_FILE=" + file, "endpoint list"},
			{"HOOKLEDGER_SECRET=!" + secret, "signature sign --id m1"},
			{"HOOKLEDGER_SECRET=!" + secret, "receive --listen wrong"},
			{"HOOKLEDGER_MASTER_KEY=" + secret + "x", "serve --listen 127.0.0.1:0 --data-dir " + k.t.TempDir()},
			{"HOOKLEDGER_MASTER_KEY=" + strings.Repeat("00", 32), "ledger info --data-dir " + k.dir},
			{"HOOKLEDGER_EVENTSTORE=esdb://u:" + secret + "@127.0.0.1:none",
				"serve --store eventstore --data-dir " + k.t.TempDir()},
			{"HOOKLEDGER_EVENTSTORE=esdb://u:" + secret + "@127.0.0.1:1", "config show"},
			{"HOOKLEDGER_OTLP_ENDPOINT=http://u:" + secret + "@127.0.0.1:1", "config show"},
			{"HOOKLEDGER_OTLP_ENDPOINT=ftp://u:" + secret + "@127.0.0.1:1", "serve --data-dir " + k.t.TempDir()},
			{"HOOKLEDGER_SERVER=http://u:" + secret + "@127.0.0.1:1", "config show"},
			{"HOOKLEDGER_SERVER=http://u:" + secret + "@127.0.0.1:1", "status"},
		} {
			out, code := k.run(append(env, c.env), strings.Fields(c.args)...)
			if code == 0 && !strings.HasPrefix(c.args, "config") {
				k.t.Errorf("$ %s: it is taken:\n%s", c.args, out)
			}
			k.places[fmt.Sprintf("command %d that is wrong by the %s", i, kind)] = out
		}
	}
}
