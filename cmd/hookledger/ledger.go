package main

import "github.com/spf13/cobra"

func newLedger(a *app) *cobra.Command {
	return group("ledger", "See a whole ledger, or move it to another store", newLedgerInfo(a), newLedgerCopy(a))
}
