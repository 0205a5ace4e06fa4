// Package retire destroys in the vault what no endpoint uses any more, and says so on the ledger: signing keys whose
// time beside their successor is over, values that a configuration names no more, and all that a removed endpoint had.
//
// What there is to do follows from the ledger alone: after the death of the process it is found again. A secret is
// destroyed first and its record written then, so that where the record stands the secret is gone; who dies between the
// two destroys it again, which changes nothing.
//
// It never signs, never sends, and never destroys what a configuration that is in force still names.
package retire
