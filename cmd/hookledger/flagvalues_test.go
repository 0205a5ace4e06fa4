package main

import (
	"strings"
	"testing"
)

// TestAFlagSaysWhatItTakes: where a value is wrong, or there is none, the fix is what to write, and no other page.
func TestAFlagSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	for line, want := range map[string][2]string{
		"endpoint list --limit many": {`--limit: "many" is not what it takes`, "give --limit a whole number: "},
		"endpoint list -o xml":       {`--output: there is no format "xml"`, "give table, json, ndjson or csv"},
		"endpoint list -o":           {"--output has no value", "give --output table, json, ndjson or csv"},
		"endpoint create --url":      {"--url has no value", "give --url: where to send to"},
		"replay create --gaps x":     {`--gaps: "x" is not what it takes`, "give --gaps a number: "},
		"tenant update x --text-search=maybe": {`--text-search: "maybe" is not what it takes`,
			"give --text-search true or false: "},
		"source add":             {"--kind must be given", "give --kind agenfleet or cron"},
		"listen --patience soon": {`unknown flag: --patience`, "see: hookledger listen --help"},
		"serve --window x":       {`--window: "x" is not what it takes`, "give --window a whole number: "},
		"endpoint create --timeout 90": {`--timeout: "90" is not what it takes`,
			"give --timeout a time with its unit, such as 30s, 5m or 2h: "},
		"endpoint update ep_1 --retry-schedule 1s,2": {`--retry-schedule: "1s,2" is not what it takes`,
			"give --retry-schedule times with their units, such as 5s,5m,2h: "},
		"reconcile --billing x --agenfleet y": {"--billing and --agenfleet can't be given together",
			"leave out all but one of them"},
		"reconcile --from soon --to 0s": {`--from: "soon" is no time`, "write it like 2026-02-01T15:04:05Z"},
		"recover ep_1 --since soon":     {`--since: "soon" is no time`, "write it like 2026-02-01T15:04:05Z"},
		"endpoint create --rate-limit x": {`--rate-limit: "x" is not what it takes`,
			"give --rate-limit a number: requests"},
		"serve --disable-after soon": {`--disable-after: "soon" is not what it takes`,
			"give --disable-after a time with its unit, such as 30s, 5m or 2h: "},
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			a, _, said := testApp(nil, "")
			if code := run(t.Context(), strings.Fields(line), a); code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			problem, fix, _ := strings.Cut(said.String(), "\n")
			if !strings.Contains(problem, want[0]) || !strings.Contains(fix, want[1]) || strings.Contains(problem, "strconv") {
				t.Errorf("it says\n%s", said)
			}
		})
	}
}

// TestASettingSaysWhatItTakes: as the flag does, and with the place where it stands.
func TestASettingSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	a, _, said := testApp(map[string]string{"HOOKLEDGER_WINDOW": "x"}, "")
	if code := run(t.Context(), []string{"serve"}, a); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	want := `HOOKLEDGER_WINDOW: "x" is not what it takes` + "\nfix:   give --window a whole number: "
	if !strings.Contains(said.String(), want) {
		t.Errorf("it says\n%s", said)
	}
}

// TestARefusedValueSaysWhatIsTaken: of what the API refuses without saying what to do.
func TestARefusedValueSaysWhatIsTaken(t *testing.T) {
	t.Parallel()
	a, _, _ := testApp(nil, "")
	cmd, _, err := newRoot(a).Find([]string{"delivery", "list"})
	if err != nil {
		t.Fatal(err)
	}
	for detail, want := range map[string]string{
		`--order: expected value to be one of "asc, desc"`: "give asc or desc",
		"--code: invalid integer":                          "give --code: ",
		"body.other: expected number":                      "see: hookledger delivery list --help",
		"order: no":                                        "see: hookledger delivery list --help",
	} {
		if got := fixOf(cmd, detail); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", detail, got)
		}
	}
}
