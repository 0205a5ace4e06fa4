package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
)

// helpWidth is how many columns help takes: what a terminal breaks by itself is hard to read.
const helpWidth = 100

// fitHelp breaks what the help of the root, and of those below it, says: when it is shown, and not at each start.
func fitHelp(root *cobra.Command) {
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages",
		fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.Long = fill(cmd.Long, helpWidth)
		show(cmd, args)
	})
}

// fill breaks each paragraph of a text into lines of so many columns; one with an indented line stays as it is.
func fill(text string, width int) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, " ") || strings.Contains(p, "\n ") {
			continue
		}
		paragraphs[i] = output.Wrapped(p, width)
	}
	return strings.Join(paragraphs, "\n\n")
}
