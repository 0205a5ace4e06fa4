package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hookledger/domain"
)

// stage is a server and a receiver, each a process, with endpoints that point from one to the other.
type stage struct {
	cfg         *Config
	dataDir     string
	secretsFile string
	serveAddr   string
	receiveAddr string
	key         string
	signing     []byte // of the first endpoint
	serve       *process
	receive     *process
	http        *http.Client
}

// stage starts a server in a new data directory and registers the endpoints. The receiver is started by startReceiver:
// it needs their secrets.
func (c *Config) stage(ctx context.Context, dir string, serveArgs ...string) (_ *stage, err error) {
	s := &stage{cfg: c, dataDir: filepath.Join(dir, "data"), secretsFile: filepath.Join(dir, "secrets"),
		http: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for the data: %w", err)
	}
	if s.serveAddr, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.receiveAddr, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := s.startServe(ctx, serveArgs...); err != nil {
		return nil, err
	}
	if err := s.register(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// startServe runs serve with its defaults; loopback must be allowed, or it would refuse to deliver there.
func (s *stage) startServe(ctx context.Context, args ...string) error {
	var err error
	var env []string
	if s.cfg.Elsewhere != nil {
		env = s.cfg.Elsewhere.Env
	}
	if s.cfg.CPUProfiles != "" {
		s.cfg.profiles++
		args = append(args, "--cpu-profile", filepath.Join(s.cfg.CPUProfiles, fmt.Sprintf("serve-%d.pprof", s.cfg.profiles)))
	}
	if s.serve, err = start(ctx, s.cfg.Binary, env, append([]string{"serve", "--data-dir", s.dataDir, "--listen",
		s.serveAddr, "--allow-cidr", "127.0.0.0/8", "--log-level", "warn"}, args...)...); err != nil {
		return err
	}
	if err := s.serve.await(ctx, func(ctx context.Context) bool {
		status, err := s.call(ctx, http.MethodGet, s.api("/readyz"), nil, nil)
		return err == nil && status == http.StatusOK
	}); err != nil {
		return errors.Join(err, s.serve.stop())
	}
	key, err := os.ReadFile(filepath.Join(s.dataDir, "admin.key"))
	if err != nil {
		return fmt.Errorf("read the server's key: %w", err)
	}
	s.key = strings.TrimSpace(string(key))
	return nil
}

// restart ends the server, if it runs, and starts it with its defaults, and the arguments.
func (s *stage) restart(ctx context.Context, args ...string) error {
	select {
	case <-s.serve.done:
	default:
		if err := s.serve.stop(); err != nil {
			return err
		}
	}
	return s.startServe(ctx, args...)
}

// register makes the endpoints and writes their secrets down for the receiver.
func (s *stage) register(ctx context.Context) error {
	var lines bytes.Buffer
	for i := range s.cfg.Endpoints {
		path := fmt.Sprintf("/e/%d", i)
		body, err := json.Marshal(map[string]any{"url": "http://" + s.receiveAddr + path,
			"event_types": []string{s.cfg.typeOf(i)}})
		if err != nil {
			return fmt.Errorf("encode an endpoint: %w", err)
		}
		var made struct {
			Secret string `json:"secret"`
		}
		if status, err := s.call(ctx, http.MethodPost, s.api("/v1/endpoints"), body, &made); err != nil || status/100 != 2 {
			return fmt.Errorf("register an endpoint: status %d: %w", status, err)
		}
		if i == 0 {
			if s.signing, err = domain.SigningKey(domain.NewSecret(made.Secret)); err != nil {
				return err
			}
		}
		fmt.Fprintf(&lines, "%s %s\n", path, made.Secret)
	}
	if err := os.WriteFile(s.secretsFile, lines.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the secrets: %w", err)
	}
	return nil
}

// startReceiver runs receive, or runs it anew with other flags.
func (s *stage) startReceiver(ctx context.Context, args ...string) error {
	if err := s.receive.stop(); err != nil {
		return err
	}
	var err error
	if s.receive, err = start(ctx, s.cfg.Binary, nil, append([]string{"receive", "--quiet", "--listen", s.receiveAddr,
		"--secrets", s.secretsFile}, args...)...); err != nil {
		return err
	}
	return s.receive.await(ctx, func(ctx context.Context) bool {
		_, err := s.stats(ctx)
		return err == nil
	})
}

// stats are the receiver's counters.
type stats struct {
	Received int64     `json:"received"`
	Invalid  int64     `json:"invalid"`
	Unique   int64     `json:"unique_ids"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
}

func (s *stage) stats(ctx context.Context) (stats, error) {
	var out stats
	status, err := s.call(ctx, http.MethodGet, "http://"+s.receiveAddr+"/stats", nil, &out)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the receiver's counters: status %d", status)
	}
	return out, err
}

func (s *stage) resetReceiver(ctx context.Context) error {
	_, err := s.call(ctx, http.MethodDelete, "http://"+s.receiveAddr+"/stats", nil, nil)
	return err
}

func (s *stage) api(path string) string { return "http://" + s.serveAddr + path }

// authorize makes a request one of the platform's admin for the default tenant.
func (s *stage) authorize(h http.Header) {
	h.Set("Authorization", "Bearer "+s.key)
	h.Set("Hookledger-Tenant", domain.DefaultTenant)
	h.Set("Content-Type", "application/json")
}

func (s *stage) call(ctx context.Context, method, url string, body []byte, out any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make a request: %w", err)
	}
	s.authorize(req.Header)
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("call: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("read an answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return resp.StatusCode, errors.New(string(raw))
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			return resp.StatusCode, fmt.Errorf("read an answer: %w", err)
		}
	}
	return resp.StatusCode, nil
}

func (s *stage) cpu() cpuTimes {
	return cpuTimes{"serve": cpuSeconds(s.serve.cmd.Process.Pid), "receive": cpuSeconds(s.receive.cmd.Process.Pid),
		"bench": cpuSeconds(os.Getpid())}
}

func (s *stage) close() error {
	s.http.CloseIdleConnections()
	return errors.Join(s.serve.stop(), s.receive.stop())
}
