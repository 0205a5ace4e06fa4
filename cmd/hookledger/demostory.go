package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/apiclient"
	"hookledger/cmd/hookledger/output"
	"hookledger/cmd/hookledger/receiver"
	"hookledger/domain"
)

// A story is told with commands as a user types them. Each is run by the same code as on a command line, against the
// demo's server, and its output is shown as it is; what it shows is then checked against what the receivers saw.

func storyNames() []string { return []string{"compliance", "engineer", "billing"} }

// told gives a story, nil where there is none of the name.
func told(name string) func(*story, context.Context) error {
	switch name {
	case "compliance":
		return (*story).compliance
	case "engineer":
		return (*story).engineer
	case "billing":
		return (*story).billing
	}
	return nil
}

// story is a demonstration whose steps are commands.
type story struct {
	*demonstration
	dir   string
	out   io.Writer
	paint output.Paint
	steps int
}

// tell tells one story.
func (a *app) tell(cmd *cobra.Command, name string) (err error) {
	tell := told(name)
	if tell == nil {
		return usage(fmt.Sprintf("--story: there is no %q", name), "use "+strings.Join(storyNames(), ", "))
	}
	if a.printer.Format != output.Table || a.settings.source("store") == "flag" {
		return usage("a story is a text, on a ledger of its own", "leave out --output and --store")
	}
	dir, err := os.MkdirTemp("", "hookledger-story-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// The live view is only counted with: between the commands' outputs its lines would be in the way.
	s := &story{demonstration: &demonstration{a: a, live: newLiveLog(io.Discard, false)}, dir: dir, out: a.out,
		paint: a.printer.Paint}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*demoPatience)
	defer cancel()
	if err := s.start(ctx, filepath.Join(dir, "data"), storeConfig{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := tell(s, ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\n%s\n", s.paint.Green("The story ends here: all that it showed was checked."))
	return nil
}

// headed begins a step.
func (s *story) headed(format string, args ...any) {
	s.steps++
	fmt.Fprintf(s.out, "\n%s\n", s.paint.Bold(fmt.Sprintf("%d. ", s.steps)+fmt.Sprintf(format, args...)))
}

// checked says what was found to hold.
func (s *story) checked(format string, args ...any) {
	fmt.Fprintf(s.out, "   %s %s\n", s.paint.Green("checked:"), fmt.Sprintf(format, args...))
}

// storySecret finds signing secrets: they are shown once to who registers an endpoint, and not to who watches a demo.
var storySecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`)

// run shows a command and its output, and gives that. Any exit code but the wanted one ends the story.
func (s *story) run(ctx context.Context, want int, args ...string) (string, error) {
	words := make([]string, len(args))
	for i, w := range args {
		words[i] = shellWord(strings.ReplaceAll(w, s.dir+string(filepath.Separator), ""))
	}
	line := "hookledger " + strings.Join(words, " ")
	fmt.Fprintf(s.out, "\n   $ %s\n", line)
	var both bytes.Buffer
	code := s.execute(ctx, &both, &both, args)
	for shown := range strings.Lines(storySecret.ReplaceAllString(both.String(), "whsec_(hidden)")) {
		fmt.Fprintf(s.out, "   %s\n", strings.TrimRight(shown, " \n"))
	}
	if code != want {
		return "", fmt.Errorf("%s: exit code %d, and not %d", line, code, want)
	}
	if want != exitOK {
		fmt.Fprintf(s.out, "   (exit code %d)\n", code)
	}
	return both.String(), nil
}

// ask runs a command out of sight and reads its JSON.
func (s *story) ask(ctx context.Context, want int, into any, args ...string) error {
	var out, bad bytes.Buffer
	args = append(args, "-o", "json")
	if code := s.execute(ctx, &out, &bad, args); code != want {
		return fmt.Errorf("%s: exit code %d, and not %d: %s", strings.Join(args, " "), code, want, bad.String())
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// execute runs a command as main does, with nothing of the user's own settings.
func (s *story) execute(ctx context.Context, out, bad io.Writer, args []string) int {
	return run(ctx, args, &app{in: strings.NewReader(""), out: out, err: bad, environ: func() []string {
		return []string{"HOOKLEDGER_SERVER=" + s.server.URL, "HOOKLEDGER_DATA_DIR=" + s.server.DataDir,
			"XDG_CONFIG_HOME=" + s.dir, "NO_COLOR=1"}
	}})
}

// file writes a file of the story, says what is in it if it is to be seen, and gives its name.
func (s *story) file(name, content string, show bool) (string, error) {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write a file of the story: %w", err)
	}
	if show {
		fmt.Fprintf(s.out, "\n   %s:\n", name)
		for line := range strings.Lines(content) {
			fmt.Fprintf(s.out, "     %s\n", strings.TrimRight(line, "\n"))
		}
	}
	return path, nil
}

// settled waits until so many deliveries in all have ended, and the read models hold it.
func (s *story) settled(ctx context.Context, deliveries int) error {
	waiting, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	for {
		ended, changed := s.live.outcomes()
		if len(ended) >= deliveries {
			break
		}
		select {
		case <-changed:
		case <-waiting.Done():
			return fmt.Errorf("%d of %d deliveries ended: %w", len(ended), deliveries, waiting.Err())
		}
	}
	_, err := apiclient.List[apiclient.Delivery](ctx, s.client, "/v1/deliveries",
		url.Values{"limit": {"1"}, "min_position": {strconv.FormatUint(s.live.last(), 10)}})
	return err
}

// storyReceiver is an endpoint's receiver that keeps what it got.
type storyReceiver struct {
	endpoint string
	secret   domain.Secret

	mu   sync.Mutex // guards what follows
	keys []domain.Key
	got  []receiver.Request
}

// requests are those that it got, in their order.
func (r *storyReceiver) requests() []receiver.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// register starts a receiver and registers its endpoint with the command that does it.
func (s *story) register(ctx context.Context, name string, fail int, flags ...string) (*storyReceiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return nil, fmt.Errorf("start a receiver: %w", err)
	}
	r := &storyReceiver{}
	h := receiver.New(receiver.Config{FailFirst: fail,
		Keys: func(string) []domain.Key {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.keys
		},
		OnRequest: func(got receiver.Request) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, got)
		}})
	s.parts.Go(func() {
		if err := serveUntil(s.running, l, h); err != nil {
			s.a.note("the receiver %s: %v", name, err)
		}
	})
	create := []string{"endpoint", "create", "--url", baseURL(l, false) + "/" + name}
	out, err := s.run(ctx, exitOK, append(create, flags...)...)
	if err != nil {
		return nil, err
	}
	r.secret = domain.NewSecret(storySecret.FindString(out))
	r.endpoint = regexp.MustCompile(`ep_[0-9A-Z]+`).FindString(out)
	key, err := domain.ParseVerifyKey(r.secret)
	if err != nil || r.endpoint == "" {
		return nil, cmp.Or(err, errors.New("the answer names no endpoint"))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = []domain.Key{key}
	return r, nil
}
