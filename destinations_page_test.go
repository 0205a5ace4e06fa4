package hookledger_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookledger/delivery/channeltest"
)

// TestDestinationsPage runs every command of docs/destinations.md, in its order, with stand-ins in place of the
// services.
func TestDestinationsPage(t *testing.T) {
	t.Parallel()
	slack := &channeltest.Slack{}
	hooks := httptest.NewServer(slack)
	defer hooks.Close()
	bots := httptest.NewServer(&channeltest.Telegram{Token: "123456:token-of-nobody", Chat: "-1001234567890"})
	defer bots.Close()
	smtp := &channeltest.Mail{}
	mailServer, err := smtp.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer smtp.Close()
	r := newReader(t)
	for name, text := range map[string]string{"bot.txt": "123456:token-of-nobody\n", "smtp.txt": "password-of-nobody\n"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run("go build -o hookledger ./cmd/hookledger")
	r.page(read(t, "docs/destinations.md"), 6, func(line string) {
		line = strings.NewReplacer("https://hooks.slack.com", hooks.URL, "--chat-id", "--url "+bots.URL+" --chat-id",
			"smtp.example.com:587", mailServer).Replace(line)
		if strings.Contains(line, "event send") { // nobody receives it here
			r.command(r.dir, line)
		} else {
			r.run(line)
		}
	})
	r.expect("./hookledger delivery list", "succeeded")
	if len(slack.Received()) != 1 {
		t.Errorf("Slack got %d messages", len(slack.Received()))
	}
	r.expect("./hookledger attempt list", "tls_unknown_ca") // nobody vouches for the stand-in: no mail leaves
	if n := len(smtp.Letters()); n > 0 {
		t.Errorf("%d mails left all the same", n)
	}
}
