package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"hookledger/cmd/hookledger/output"
)

// helpWidth is how many columns help takes: what a terminal breaks by itself is hard to read.
const helpWidth = 100

// fitHelp breaks what the help of a command, and of those below it, says.
func fitHelp(cmd *cobra.Command) {
	if !cmd.HasParent() { // those below take the root's
		cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), ".FlagUsages",
			fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	}
	cmd.Long = fill(cmd.Long, helpWidth)
	for _, c := range cmd.Commands() {
		fitHelp(c)
	}
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
