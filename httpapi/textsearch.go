package httpapi

import (
	"context"
	"net/http"
	"time"

	"hookledger/projections"
)

// Texts find events by what they say; *projections.TextSearch does.
type Texts interface {
	// FindText gives the events of those received within the span; the *domain.Error of a tenant without an index says
	// how it gets one.
	FindText(ctx context.Context, tenant, text string, received projections.Span) ([]string, error)
	Status() []projections.ProjectionStatus
}

var _ Texts = (*projections.TextSearch)(nil)

var errNoTexts = newProblem(http.StatusBadRequest, "text_search_off",
	"this node has no index of texts: ask another one")

// findText adds what a search for a text found to the conditions; created are further bounds of the events' receipt,
// where the list has some.
func (a *api) findText(ctx context.Context, tenant, text string, w *projections.Where, created projections.Span) error {
	if text == "" {
		return nil
	}
	if a.Texts == nil {
		return errNoTexts
	}
	bounded, cancel := a.patient(ctx)
	defer cancel()
	received := w.Received
	if received.After.Before(created.After) {
		received.After = created.After
	}
	if received.Before.IsZero() || !created.Before.IsZero() && created.Before.Before(received.Before) {
		received.Before = created.Before
	}
	if !received.Before.IsZero() {
		received.Before = received.Before.Add(time.Microsecond) // the rows are held against what is exact
	}
	found, err := a.Texts.FindText(bounded, tenant, text, received)
	if err != nil {
		return err
	}
	// What was found is in the rows when they are asked.
	if err := a.rowsAt(ctx, a.Store.Head()); err != nil {
		return err
	}
	w.Events = found
	return nil
}

// status is that of all projections of this node.
func (a *api) status() []projections.ProjectionStatus {
	all := a.History.Status()
	if a.Texts != nil {
		all = append(all, a.Texts.Status()...)
	}
	return all
}
