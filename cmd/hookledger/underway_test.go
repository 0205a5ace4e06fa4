package main

import (
	"context"
	"net/url"
	"strconv"

	"hookledger/cmd/hookledger/apiclient"
)

// underWay counts the deliveries that have not ended, in rows that hold all that is on the ledger. It looks twice:
// between two of its questions a delivery can go from one status to one that was asked for already. So 0 is sure, and
// another number only says that there are some.
func underWay(ctx context.Context, c *apiclient.Client) (int, error) {
	folds, err := apiclient.List[apiclient.Projection](ctx, c, "/v1/projections", nil)
	if err != nil {
		return 0, err
	}
	head := uint64(0)
	for _, p := range folds.Data {
		head = max(head, p.Value.Head)
	}
	open, all := 0, []string{"retrying", "held", "pending", "in_flight"}
	for _, status := range append(all, all...) {
		page, err := apiclient.List[apiclient.Delivery](ctx, c, "/v1/deliveries", url.Values{"status": {status},
			"limit": {"1"}, "min_position": {strconv.FormatUint(head, 10)}})
		if err != nil {
			return 0, err
		}
		open += len(page.Data)
	}
	return open, nil
}
