package httpapi

import (
	"context"
	"sync/atomic"
	"testing"

	"hookledger/domain"
)

// heardRows says how far somebody has waited for the rows.
type heardRows struct {
	Projections
	waited atomic.Uint64
}

func (h *heardRows) WaitFor(ctx context.Context, pos domain.Position) error {
	h.waited.Store(max(h.waited.Load(), uint64(pos)))
	return h.Projections.WaitFor(ctx, pos)
}

// TestADeletedEndpointHasNoDeliveryLeft from the answer on.
func TestADeletedEndpointHasNoDeliveryLeft(t *testing.T) {
	t.Parallel()
	heard := &heardRows{}
	s := newStack(t, func(c *Config) { heard.Projections, c.Projections = c.Projections, heard })
	key := s.key("default", domain.RoleAdmin)
	e := s.endpoint(key, map[string]any{})
	receipt := into[Receipt](s.call(key, "POST", "/v1/events", example("")).want(202, ""))
	s.call(key, "DELETE", "/v1/endpoints/"+e.ID, nil).want(204, "")
	if at := uint64(s.store.Head()); heard.waited.Load() != at {
		t.Errorf("it is answered when the rows hold %d, and was removed at %d", heard.waited.Load(), at)
	}
	got := into[Delivery](s.call(key, "GET", "/v1/deliveries/"+receipt.Deliveries[0].ID, nil).want(200, ""))
	if got.Status != "cancelled" {
		t.Errorf("status %s", got.Status)
	}
}
