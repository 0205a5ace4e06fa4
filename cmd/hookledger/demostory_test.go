package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestStories runs each story as a user does, and looks for the facts that it must show.
func TestStories(t *testing.T) {
	t.Parallel()
	for name, facts := range map[string][]string{
		"compliance": {
			`(?s)\$ hookledger query event budget-march-17\n.*/finance +succeeded +1 +initial +\S+ +v1,\S+ +200 *\n`,
			`/operations +succeeded +1 +initial +\S+ +v1,\S+ +503 *\n`,
			`/operations +succeeded +2 +automatic +\S+ +v1,\S+ +200 *\n`,
			`signature verify .*sent\.json\n +verified +yes`, `signature verify .*changed\.json\n +verified +no`,
			`\(exit code 5\)`, `(?s)endpoint history ep_\S+\n.*EndpointRegistered`, `checked: one attempt failed`,
		},
		"engineer": {
			`replay create .*--dry-run\n`, `nothing was done: 12 deliveries are planned`, `replay watch rpl_story\n`,
			`(?m)^ +delivered +12$`, `checked: the second service got each event once`,
			`checked: 12 replayed, 1 live, none twice`,
			`12 in all`,
		},
		"billing": {
			`atlas +daily +\S+ +tokens +260000 +300000 +2 +b2`, `nova +monthly +\S+ +money +USD +12\.34`,
			`differs +billing +b2 +atlas +spent +260000 +206000 +3 `, `missing +billing +b3 +nova`,
			`does not balance: differs: 1, missing: 1\n`, `(?s)billing-corrected\.csv .*it balances: 4 events`,
			`rcn_second +yes`, `rcn_first +no`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, bad bytes.Buffer
			// A setting of the user's own must not reach the story's commands.
			code := run(t.Context(), []string{"demo", "--story", name}, &app{in: strings.NewReader(""), out: &out, err: &bad,
				environ: func() []string {
					return []string{"HOOKLEDGER_SERVER=http://192.0.2.1:1", "XDG_CONFIG_HOME=" + t.TempDir()}
				}})
			text := out.String()
			if code != exitOK || bad.Len() > 0 || !strings.HasSuffix(text, "all that it showed was checked.\n") {
				t.Fatalf("exit code %d\n%s%s", code, text, bad.String())
			}
			for _, fact := range facts {
				if !regexp.MustCompile(fact).MatchString(text) {
					t.Errorf("no %s in:\n%s", fact, text)
				}
			}
			if s := storySecret.FindString(text); s != "" {
				t.Error("it shows a signing secret")
			}
		})
	}
}

func TestStoryRefusals(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"demo --story nobody":               `there is no "nobody"`,
		"demo --story billing -o json":      "a story is a text",
		"demo --story billing --once":       "can't be given together",
		"demo --story billing --data-dir x": "can't be given together",
		"demo --story billing --store eventstore --eventstore esdb://127.0.0.1:1": "a story is a text",
	} {
		var out, bad bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &app{in: strings.NewReader(""), out: &out, err: &bad,
			environ: func() []string { return []string{"XDG_CONFIG_HOME=" + t.TempDir()} }})
		if code != exitUsage || !strings.Contains(bad.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %s%s", args, code, &out, &bad)
		}
	}
}
