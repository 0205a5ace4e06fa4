package replays

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"hookledger/domain"
	"hookledger/ledger"
)

// Bounds of the end of a replay.
const (
	finishPage = 500 // deliveries that are looked up at once
	cancelling = 32  // and that are cancelled at once
)

// finish writes the result once every delivery that was scheduled has ended; cancelled ends those that wait.
func (r *run) finish(ctx context.Context, cancelled bool) (time.Duration, error) {
	p, err := r.cfg.Progress.ReplayProgress(ctx, r.state.Tenant, r.state.ID)
	if err != nil {
		return 0, err
	}
	if cancelled && p.Open > 0 {
		if err := r.cancelWaiting(ctx); err != nil {
			return 0, err
		}
	}
	if p.Scheduled < r.state.Scheduled || p.Open > 0 {
		return r.wait(p), nil
	}
	skipped, err := r.whyCancelled(ctx)
	if err != nil {
		return 0, err
	}
	return 0, r.append(ctx, "completed", func() ([]domain.Fact, error) {
		return r.state.Complete(p.Delivered, p.Failed, skipped)
	})
}

// cancelWaiting ends the deliveries that wait. One with an open attempt is left for when that has ended.
func (r *run) cancelWaiting(ctx context.Context) error {
	for after := ""; ; {
		page, err := r.cfg.Progress.ReplayDeliveries(ctx, r.state.Tenant, r.state.ID, after, finishPage,
			domain.StatusPending, domain.StatusRetrying)
		if err != nil {
			return err
		}
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(cancelling)
		for _, d := range page {
			group.Go(func() error { return r.cancel(groupCtx, d) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		if len(page) < finishPage {
			return nil
		}
		after = page[len(page)-1].Delivery
	}
}

func (r *run) cancel(ctx context.Context, d domain.Due) error {
	policy := domain.RetryPolicy{}
	if e, ok := r.cfg.Endpoints.Endpoint(r.state.Tenant, d.Endpoint); ok {
		policy = domain.RetryPolicy{Schedule: e.Config.RetrySchedule, Jitter: domain.DefaultJitter}
	}
	_, _, err := ledger.Execute(ctx, r.cfg.Store, domain.DeliveryStream(d.Tenant, d.Delivery), domain.NewDelivery,
		func(state *domain.Delivery) ([]domain.Record, error) {
			return state.Cancel(r.cfg.Base(), d, policy, reasonReplayCancelled), nil
		})
	if err != nil && !errors.Is(err, ledger.ErrConflict) { // contended: its attempt is at work
		return fmt.Errorf("cancel delivery %s: %w", d.Delivery, err)
	}
	return nil
}

const reasonReplayCancelled = "replay_cancelled"

// whyCancelled counts the cancelled deliveries by reason. One that its endpoint's removal ended has no record of it.
func (r *run) whyCancelled(ctx context.Context) (map[string]int, error) {
	out := map[string]int{}
	for after := ""; ; {
		page, err := r.cfg.Progress.ReplayDeliveries(ctx, r.state.Tenant, r.state.ID, after, finishPage,
			domain.StatusCancelled)
		if err != nil {
			return nil, err
		}
		for _, d := range page {
			reason := "endpoint_removed"
			for rec, err := range r.cfg.Store.ReadStream(ctx, domain.DeliveryStream(d.Tenant, d.Delivery), 0) {
				if err != nil {
					return nil, fmt.Errorf("read delivery %s: %w", d.Delivery, err)
				}
				if f, ok := rec.Fact.(*domain.DeliveryCancelled); ok {
					reason = f.Reason
				}
			}
			out[reason]++
		}
		if len(page) < finishPage {
			return out, nil
		}
		after = page[len(page)-1].Delivery
	}
}
