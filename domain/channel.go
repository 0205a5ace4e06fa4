package domain

// The channels of a cron job's output.
const (
	ChannelTelegram = "telegram"
	ChannelSlack    = "slack"
	ChannelEmail    = "email"
	ChannelURL      = "url" // of a webhook endpoint that is one
)

// ChannelName is the channel of cron outputs that the endpoint is: its kind where that is one, else its mark;
// empty: it is none. What becomes of an output on its way there is said by cron.delivered or cron.failed.
func (c *EndpointConfig) ChannelName() string {
	switch c.Kind {
	case ChannelTelegram, ChannelSlack, ChannelEmail:
		return c.Kind
	}
	return c.Channel
}

func (c *EndpointConfig) checkChannel() error {
	if c.Channel == "" || c.Channel == ChannelURL && c.ChannelName() == ChannelURL {
		return nil
	}
	return Refuse(KindInvalid, "invalid_channel", "the channel \""+c.Channel+"\" is not valid",
		`use "url" for a webhook that is a channel of cron outputs, or none; other kinds are channels by themselves`)
}
