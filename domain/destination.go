package domain

// Kinds of endpoints: what an event is sent as.
const (
	EndpointWebhook = "webhook" // the event itself, signed, over HTTP
)
