package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// exitStatuses are the exit codes, for man pages.
var exitStatuses = []struct {
	code int
	text string
}{
	{exitOK, "Done."},
	{exitFailed, "Failed."},
	{exitUsage, "Wrong usage."},
	{exitPartly, "Some of several images or lines failed."},
	{exitModel, "The model is missing, corrupt, not a PaliGemma, or changed while in use."},
	{exitImage, "An image is missing, unreadable or over a limit."},
}

// modelFiles says what *.gguf files are.
const modelFiles = "Models, as paligemma convert writes them."

// manFiles are the files that a command deals with, by the flag that names them.
var manFiles = []struct{ flag, name, text string }{
	{"model", "*.gguf", modelFiles + " Where none is named, a small one answers that is part of the program."},
	{"mask-decoder", "vae-oid.npz", "The decoder of PaliGemma's mask codec, as big_vision publishes it. A GGUF file can contain it, too."},
	{"tokenizer", "tokenizer.json, tokenizer.model", "The tokenizer of a checkpoint, as transformers and as SentencePiece save it."},
	{"mask-dir", "NAME-1.png, NAME-2.png", "Masks, one for each object of the image NAME."},
}

// commandFiles are further files of commands.
var commandFiles = map[string][]struct{ name, text string }{
	"paligemma": {
		{"*.gguf", modelFiles + " Where none is named, a small one answers that is part of the program."},
		{"share/bash-completion/completions/paligemma", "Completion for bash. This and the next two are in the folder that the program was installed to, such as /usr/local."},
		{"share/zsh/site-functions/_paligemma", "Completion for zsh."},
		{"share/fish/vendor_completions.d/paligemma.fish", "Completion for fish."},
	},
	"convert": {
		{"config.json, tokenizer.json, model.safetensors", "Parts of a checkpoint."},
		{"NAME-TYPE.gguf", "The model, where OUT is not named."},
	},
	"quantize": {{"*.gguf", modelFiles}},
	"inspect":  {{"*.gguf", modelFiles}},
}

// manPage returns the man page of a command.
func manPage(cmd *cobra.Command, date string) string {
	r := &roff{}
	cmd.InitDefaultHelpFlag()
	name := manName(cmd)
	r.macro("TH", escapeRoff(strings.ToUpper(name)), "1", date, escapeRoff("paligemma "+version), "User Commands")
	r.section("NAME")
	r.line(escapeRoff(name) + ` \- ` + escapeRoff(cmd.Short))
	r.section("SYNOPSIS")
	r.line(synopsis(cmd))
	r.section("DESCRIPTION")
	if cmd.Long == "" {
		r.line(escapeRoff(cmd.Short + "."))
	}
	r.paragraphs(cmd.Long)
	manSubcommands(r, cmd)
	r.section("OPTIONS")
	manOptionList(r, cmd.NonInheritedFlags())
	if inherited := cmd.InheritedFlags(); inherited.HasAvailableFlags() {
		r.macro("SS", "Options of every command")
		manOptionList(r, inherited)
	}
	manEnvironment(r, cmd)
	r.section("EXIT STATUS")
	for _, s := range exitStatuses {
		r.item(bold(strconv.Itoa(s.code)), escapeRoff(s.text))
	}
	r.item(fmt.Sprintf(`%s + \fIN\fR`, bold(strconv.Itoa(exitSignal))), escapeRoff("Ended by signal N: 130 interrupted, 143 terminated."))
	manFileList(r, cmd)
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.literal(dedent(strings.Split(strings.Trim(cmd.Example, "\n"), "\n")))
	}
	r.section("SEE ALSO")
	r.line(seeAlso(cmd))
	return r.b.String()
}

// usageWord is what has a font of its own in a usage line: a flag, or the name of
// a value, perhaps with an extension.
var usageWord = regexp.MustCompile(`(--?[a-z][a-z-]*)|([A-Z][A-Za-z]*(?:\.[a-z]+)?)`)

// synopsis returns the usage line of a command: what is typed in bold, the names of
// values in italics.
func synopsis(cmd *cobra.Command) string {
	_, rest, _ := strings.Cut(cmd.Use, " ")
	if rest != "" {
		rest = " " + replaceMatches(usageWord, rest, func(match []string) string {
			if match[1] != "" {
				return bold(match[1])
			}
			return italic(match[0])
		})
	}
	if cmd.HasAvailableSubCommands() {
		rest += " " + italic("COMMAND")
	}
	return bold(cmd.CommandPath()) + rest + ` [\fIoption\fR]...`
}

func manSubcommands(r *roff, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	r.section("COMMANDS")
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			r.item(bold(manName(c))+"(1)", escapeRoff(c.Short+"."))
		}
	}
}

func manOptionList(r *roff, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			r.item(optionTerm(f), optionText(f))
		}
	})
}

// optionTerm returns how a flag is typed: -m, --model FILE.
func optionTerm(f *pflag.Flag) string {
	term := bold("--" + f.Name)
	if f.Shorthand != "" {
		term = bold("-"+f.Shorthand) + ", " + term
	}
	if value, _ := pflag.UnquoteUsage(f); value != "" {
		term += " " + italic(value)
	}
	return term
}

// placeholder is the name of a value in a flag's usage.
var placeholder = regexp.MustCompile("`([^`]*)`")

// optionText returns what a flag means, with its default where that says something.
func optionText(f *pflag.Flag) string {
	usage := replaceMatches(placeholder, f.Usage, func(match []string) string { return italic(match[1]) })
	switch f.DefValue {
	case "", "0", "false", "[]":
		return usage
	}
	return usage + " (default " + escapeRoff(f.DefValue) + ")"
}

// manEnvironment lists the variables that stand for the flags of a command, and
// those of colors.
func manEnvironment(r *roff, cmd *cobra.Command) {
	r.section("ENVIRONMENT")
	r.line(escapeRoff("A variable stands for a flag. The flag on the command line wins, also over the variables of flags that it excludes; an empty variable counts as unset."))
	list := func(f *pflag.Flag) {
		if !f.Hidden && hasVariable(f) {
			r.item(bold(envName(f.Name)), "See "+bold("--"+f.Name)+".")
		}
	}
	cmd.NonInheritedFlags().VisitAll(list)
	cmd.InheritedFlags().VisitAll(list)
	r.item(bold("NO_COLOR"), escapeRoff("If it is not empty, nothing is written in colors."))
	r.item(bold("CLICOLOR_FORCE"), escapeRoff("If it is neither empty nor 0, colors are written to other places than terminals, too."))
}

func manFileList(r *roff, cmd *cobra.Command) {
	var items [][2]string
	for _, f := range manFiles {
		if cmd.Flags().Lookup(f.flag) != nil {
			items = append(items, [2]string{f.name, f.text})
		}
	}
	for _, f := range commandFiles[cmd.Name()] {
		items = append(items, [2]string{f.name, f.text})
	}
	if len(items) == 0 {
		return
	}
	r.section("FILES")
	for _, i := range items {
		r.item(italic(i[0]), escapeRoff(i[1]))
	}
}

// namedCommand is a command that a help text names.
var namedCommand = regexp.MustCompile(`paligemma (?:help )?([a-z]+)`)

// seeAlso returns the other pages that a command's page refers to: all for the
// program; for a command the program, the commands that its texts name, and what
// makes models and lists devices where it has flags for them.
func seeAlso(cmd *cobra.Command) string {
	root := cmd.Root()
	var names []string
	named := map[string]bool{}
	text := cmd.Long + cmd.Example
	cmd.Flags().VisitAll(func(f *pflag.Flag) { text += "\n" + f.Usage })
	for _, match := range namedCommand.FindAllStringSubmatch(text, -1) {
		named[match[1]] = true
	}
	named["convert"] = named["convert"] || cmd.Flags().Lookup("model") != nil
	for _, c := range manCommands(root) {
		if c != cmd && (c == root || cmd == root || named[c.Name()]) {
			names = append(names, bold(manName(c))+"(1)")
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
