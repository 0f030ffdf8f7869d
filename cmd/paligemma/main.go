// Command paligemma runs PaliGemma vision-language models; see package cli.
package main

import (
	"os"

	"paligemma/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
