package httpapi

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"hookledger/domain"
)

// slackHosts are where Slack takes incoming webhooks.
var slackHosts = []string{"hooks.slack.com", "hooks.slack-gov.com"}

// doubts says what is allowed about a target, and is hardly meant. No text has a part of the path in it that could be a
// capability: they are logged, too.
func (t *target) doubts() []string {
	var out []string
	if path, _, _ := strings.Cut(t.content.Path, "?"); strings.Contains(path+"/", "/webhook-test/") {
		out = append(out, "the url's path has /webhook-test/ in it: n8n answers there only while its editor listens, and "+
			"once; give the production URL, with /webhook/ instead")
	}
	if t.kind == domain.EndpointSlack && !isSlack(t.host) {
		out = append(out, "the host is none of Slack's: what answers anything but 200 with \"ok\" is taken for down, and "+
			"tried again; Slack's URLs begin with https://hooks.slack.com/services/")
	}
	return out
}

// isSlack says whether a host is Slack's, or a stand-in on this machine.
func isSlack(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return slices.Contains(slackHosts, host) || host == "localhost" || err == nil && ip.IsLoopback()
}

// warn logs what is doubted of an endpoint, which its answer says as well.
func (a *api) warn(id string, doubts []string) {
	for _, doubt := range doubts {
		a.Logger.Warn("an endpoint was set that is hardly meant so: "+doubt, "endpoint", id)
	}
}
