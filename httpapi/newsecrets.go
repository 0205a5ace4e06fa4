package httpapi

import (
	"context"
	"errors"
	"time"

	"hookledger/domain"
	"hookledger/ledger"
	"hookledger/vault"
)

// newSecrets are values on their way into the vault: what was given, and what of it is kept there already. Decisions
// are taken again after a conflict; each value is kept once.
type newSecrets struct {
	given map[string]domain.Secret
	kept  map[string]domain.VaultRef
}

func (n *newSecrets) ref(what, value string) domain.VaultRef {
	if n.given == nil {
		n.given, n.kept = map[string]domain.Secret{}, map[string]domain.VaultRef{}
	}
	n.given[what] = domain.NewSecret(value)
	return n.kept[what]
}

// keys names what is kept, and the signing key that was made beside it.
func (n *newSecrets) keys(signing domain.Signing) []string {
	out := []string{signing.KeyID}
	for _, ref := range n.kept {
		out = append(out, ref.KeyID)
	}
	return out
}

// keepSecrets makes the values durable that are not yet.
func (a *api) keepSecrets(ctx context.Context, tenant string, n *newSecrets) error {
	for what, value := range n.given {
		if n.kept[what].KeyID != "" {
			continue
		}
		ref, err := a.Vault.PutSecret(ctx, tenant, value)
		if err != nil {
			return err
		}
		n.kept[what] = ref
	}
	return nil
}

// discard destroys keys that were made for a decision which is on no ledger: it ended with the error, or, where that is
// nil, another node's stands in its place. It leaves everything where the decision may have been written. That a key
// could not be destroyed changes nothing for who asked, and goes to the log.
func (a *api) discard(ctx context.Context, cause error, keyIDs ...string) {
	if errors.Is(cause, ledger.ErrUnknownOutcome) || errors.Is(cause, ledger.ErrClosed) {
		return
	}
	if err := a.destroy(ctx, keyIDs...); err != nil {
		a.Logger.Error("the vault keeps keys that nothing names", "keys", keyIDs, "error", err)
	}
}

// destroyWithin is how long secrets may take to be destroyed, however long the request that they were of still lives.
const destroyWithin = 10 * time.Second

// destroy destroys keys that nothing names any more, be the client there still or not; those without an id were never
// made.
func (a *api) destroy(ctx context.Context, keyIDs ...string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), destroyWithin)
	defer cancel()
	var errs []error
	for _, id := range keyIDs {
		if id == "" {
			continue
		}
		// One that the vault never knew is as gone as it can be.
		if err := a.Vault.Destroy(ctx, id); err != nil && !errors.Is(err, vault.ErrUnknownKey) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
