// Package replays sends again what the ledger holds. A Planner turns what was asked for into pairs of an event and an
// endpoint: in one order, as of one record of the ledger, so that whoever plans it again gets the same. A Runner
// schedules a plan page by page on the replay's stream, at its pace and never far ahead of the deliveries, and writes
// the result when the last of them has ended. What is scheduled is delivered like everything else, by package delivery.
//
// All that a Runner knows stands on the ledger: after the death of the process it goes on behind the last page, and a
// page that is written twice is a duplicate. It never sends anything, never writes to a delivery's stream but to cancel
// what a cancelled replay has left, and never holds a plan in memory.
package replays
