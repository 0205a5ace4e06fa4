// Package output renders what commands answer: one description of columns gives a table, CSV, JSON or NDJSON; and it
// draws progress bars on a terminal.
//
// What it prints was written by strangers: a table never passes on a control character, and a CSV cell never starts a
// formula. JSON and NDJSON are never reshaped: they are what the server answered.
package output
