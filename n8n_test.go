package hookledger_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"hookledger/domain"
)

// n8nCase is a request, and whether the workflow takes it.
type n8nCase struct {
	Name    string            `json:"name"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
	Now     int64             `json:"now"`
	Takes   bool              `json:"-"`
}

const n8nSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" //nolint:gosec // Standard Webhooks' published test secret

func n8nCases(t *testing.T) []n8nCase {
	t.Helper()
	const body = `{"id":"evt_1","event":"cron.completed","timestamp":"2026-11-26T12:00:00Z","data":{"jobId":"j1"}}`
	const now = 1_795_694_400
	key, err := domain.ParseSigningKey(domain.NewSecret(n8nSecret))
	if err != nil {
		t.Fatal(err)
	}
	headers := func(at int64, keys ...[]byte) map[string]string {
		return map[string]string{"webhook-id": "evt_1", "webhook-timestamp": strconv.FormatInt(at, 10),
			"webhook-signature": domain.Sign(keys, "evt_1", at, []byte(body))}
	}
	other := []byte("another secret, of 32 bytes, too")
	return []n8nCase{
		{"good", headers(now, key.Bytes), body, now, true},
		{"good, in a rotation", headers(now, other, key.Bytes), body, now, true},
		{"300 s old", headers(now-300, key.Bytes), body, now, true},
		{"altered", headers(now, key.Bytes), strings.Replace(body, "j1", "j2", 1), now, false},
		{"re-spaced", headers(now, key.Bytes), strings.ReplaceAll(body, ":", ": "), now, false},
		{"stale", headers(now-301, key.Bytes), body, now, false},
		{"from the future", headers(now+301, key.Bytes), body, now, false},
		{"unsigned", map[string]string{}, body, now, false},
		{"another's", headers(now, other), body, now, false},
	}
}

// TestN8NWorkflow runs what the workflow of docs/examples/n8n verifies with, in Node, over good and bad requests.
func TestN8NWorkflow(t *testing.T) {
	t.Parallel()
	verify := read(t, "docs/examples/n8n/verify.js")
	var workflow struct {
		Nodes []struct {
			Type       string
			Parameters struct {
				JSCode  string
				Path    string
				Options struct{ RawBody bool }
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, "docs/examples/n8n/workflow.json")), &workflow); err != nil {
		t.Fatal(err)
	}
	raw, same := false, false
	for _, n := range workflow.Nodes {
		raw = raw || n.Type == "n8n-nodes-base.webhook" && n.Parameters.Options.RawBody && n.Parameters.Path == "hookledger"
		same = same || n.Type == "n8n-nodes-base.code" && strings.HasPrefix(n.Parameters.JSCode, verify)
	}
	if !raw || !same {
		t.Errorf("the workflow keeps the raw body: %v; it verifies with verify.js: %v", raw, same)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node here")
	}
	cases := n8nCases(t)
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "-e", verify+`
const cases = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(cases.map((c) => {
  try { return verify(process.argv[1], c.headers, Buffer.from(c.body), c.now).id }
  catch (error) { return error.message }
})));`, n8nSecret)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	if err := json.Unmarshal(out, &got); err != nil || len(got) != len(cases) {
		t.Fatalf("%v: %s", err, out)
	}
	for i, c := range cases {
		if (got[i] == "evt_1") != c.Takes {
			t.Errorf("%s: %s", c.Name, got[i])
		}
	}
}
