//go:build race

package pebblestore

// thin is how many of the file operations the crash and fault tests pass over for each that they take: the race
// detector makes them ten times slower, and looks for something else.
const thin = 12
