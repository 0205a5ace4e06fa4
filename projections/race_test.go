//go:build race

package projections

import "flag"

// The race detector makes everything ten times slower, and looks for what one run in a hundred shows as well.
func init() {
	for name, value := range map[string]string{"rapid.checks": "15", "pending": "5000"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}
