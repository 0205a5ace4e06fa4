package hookledger_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestObservabilityPage runs every command of docs/observability.md, and looks for each metric that the page and the
// dashboard name, with its labels, among those that a server shows once something happened to it.
func TestObservabilityPage(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	r.run("go build -o hookledger ./cmd/hookledger")
	page := read(t, "docs/observability.md")
	r.page(page, 5, func(line string) { r.run(strings.ReplaceAll(line, "http://127.0.0.1:8420", r.server)) })
	// An attempt at a receiver that is not there is one, too.
	r.command(r.dir, "./hookledger endpoint create --url http://localhost:"+r.port+"/hook --events 'cron.*'")
	r.command(r.dir, "./hookledger event send --example cron.completed")
	r.expect("curl -s "+r.server+"/metrics", "hookledger_attempts_total{")
	resp, err := http.Get(r.server + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	shown := labelsShown(string(raw))
	dashboard := read(t, "docs/grafana/hookledger.json")
	if !json.Valid([]byte(dashboard)) {
		t.Error("the dashboard is no JSON")
	}
	names := regexp.MustCompile(metricName).FindAllString(page+dashboard, -1)
	if len(names) < 30 {
		t.Fatalf("the page and the dashboard name only %d metrics", len(names))
	}
	for _, name := range names {
		if shown[name] == nil {
			t.Errorf("%s is named, and /metrics does not show it", name)
		}
	}
	checkLabels(t, page, dashboard, shown)
}

const metricName = `(?:hookledger_|handler_execution)[a-z_]+`

// labelsShown gives the labels of each metric that /metrics shows, of a histogram under its own name too.
func labelsShown(metrics string) map[string][]string {
	shown := map[string][]string{}
	label := regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, labels, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		for _, of := range []string{name, strings.TrimSuffix(name, "_count")} {
			if shown[of] == nil {
				shown[of] = []string{}
			}
			for _, l := range label.FindAllStringSubmatch(labels, -1) {
				if !slices.Contains(shown[of], l[1]) {
					shown[of] = append(shown[of], l[1])
				}
			}
			slices.Sort(shown[of])
		}
	}
	return shown
}

// checkLabels: the page's table names all labels of each metric in it; its queries and the dashboard's name none that
// their metrics have not.
func checkLabels(t *testing.T, page, dashboard string, shown map[string][]string) {
	t.Helper()
	named := regexp.MustCompile("`(" + metricName + ")(?:\\{([a-z_,]*)\\})?`")
	rows := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, m := range named.FindAllStringSubmatch(first, -1) {
			rows++
			labels := slices.DeleteFunc(strings.Split(m[2], ","), func(l string) bool { return l == "" })
			slices.Sort(labels)
			if !slices.Equal(labels, shown[m[1]]) {
				t.Errorf("the page says that %s has the labels %v; it has %v", m[1], labels, shown[m[1]])
			}
		}
	}
	queries := regexp.MustCompile("`([^`]*"+metricName+"[^`]*)`").FindAllStringSubmatch(page, -1)
	var board struct {
		Panels []struct {
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(dashboard), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			queries = append(queries, []string{"", target.Expr + " " + target.LegendFormat})
		}
	}
	if rows < 20 || len(queries) < 30 {
		t.Fatalf("the table names %d metrics, and there are %d queries: what is read is not what is meant", rows,
			len(queries))
	}
	uses := regexp.MustCompile(`by \(([^)]*)\)|\{\{([a-z_]+)\}\}|\{([a-z_]+)=|,([a-z_]+)=`)
	for _, q := range queries {
		var labels []string
		for _, name := range regexp.MustCompile(metricName).FindAllString(q[1], -1) {
			labels = append(labels, shown[name]...)
		}
		for _, m := range uses.FindAllStringSubmatch(q[1], -1) {
			for _, l := range strings.Split(strings.Join(m[1:], ""), ",") {
				if l = strings.TrimSpace(l); !slices.Contains(labels, l) {
					t.Errorf("%s: its metrics have no label %q, but %v", q[1], l, labels)
				}
			}
		}
	}
}
