package cli

import (
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/ggml"
)

// languages are the codes that --lang completes. Others can be typed.
var languages = []cobra.Completion{
	"en\tEnglish", "ar\tArabic", "bn\tBengali", "cs\tCzech", "da\tDanish", "de\tGerman", "el\tGreek", "es\tSpanish", "fa\tPersian",
	"fi\tFinnish", "fr\tFrench", "hi\tHindi", "hu\tHungarian", "id\tIndonesian", "it\tItalian", "ja\tJapanese", "ko\tKorean", "nl\tDutch",
	"no\tNorwegian", "pl\tPolish", "pt\tPortuguese", "ro\tRomanian", "ru\tRussian", "sv\tSwedish", "th\tThai", "tr\tTurkish",
	"uk\tUkrainian", "vi\tVietnamese", "zh\tChinese",
}

// flagValues are what the values of flags complete as, besides enums. The value of
// any other flag is a number or a text: it completes as nothing.
var flagValues = map[string]cobra.CompletionFunc{
	"device":        completeDevices,
	"dir":           completeFolders,
	"draw":          completeFiles("png", "jpg", "jpeg"),
	"files-from":    completeAnyFile,
	"image":         completeImages,
	"label-dir":     completeFolders,
	"api-key-file":  completeAnyFile,
	"log-file":      completeAnyFile,
	"media-path":    completeFolders,
	"socket":        completeAnyFile,
	"split":         cobra.FixedCompletions([]cobra.Completion{"auto\tby the free memory of the devices"}, cobra.ShellCompDirectiveNoFileComp),
	"tls-cert":      completeAnyFile,
	"tls-key":       completeAnyFile,
	"lang":          cobra.FixedCompletions(languages, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder),
	"lora":          completeFolders,
	"mask-decoder":  completeFiles("npz", "gguf"),
	"mask-dir":      completeFolders,
	"model":         completeModel,
	"output":        completeAnyFile,
	"requests":      completeAnyFile,
	"suffixes-from": completeAnyFile,
	"mmproj":        completeFiles("gguf"),
	"tokenizer":     completeFiles("json", "model"),
}

// argumentValues are what arguments complete as, by their names in usage lines,
// besides names with an extension. Any other argument is a text.
var argumentValues = map[string]cobra.CompletionFunc{
	"CHECKPOINT": completeFiles("safetensors", "safetensors.index.json", "npz"),
	"COMMAND":    completeCommands,
	"IMAGE":      completeImages,
	"IN.gguf":    completeModel,
	"MODEL":      completeModel,
	"NAME":       completeModels,
}

// completeCommand lets shells complete the values of a command's flags and its
// arguments. Functions that are registered already stay.
func completeCommand(cmd *cobra.Command) {
	register := func(f *pflag.Flag) {
		if f.NoOptDefVal == "" {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, flagCompletion(f.Name))
		}
	}
	cmd.Flags().VisitAll(register)
	cmd.PersistentFlags().VisitAll(register)
	if cmd.ValidArgsFunction == nil && cmd.ValidArgs == nil {
		cmd.ValidArgsFunction = argumentCompletion(cmd.Use)
	}
}

func flagCompletion(name string) cobra.CompletionFunc {
	if words, ok := enums[name]; ok {
		return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
	}
	if complete, ok := flagValues[name]; ok {
		return complete
	}
	return cobra.NoFileCompletions
}

// argumentCompletion returns what completes the arguments of a usage line.
func argumentCompletion(use string) cobra.CompletionFunc {
	var arguments []cobra.CompletionFunc
	names, repeated := argumentNames(use)
	for _, name := range names {
		complete, ok := argumentValues[name]
		switch {
		case ok:
		case path.Ext(name) != "":
			complete = completeFiles(path.Ext(name)[1:])
		default:
			complete = cobra.NoFileCompletions
		}
		arguments = append(arguments, complete)
	}
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		i := len(args)
		if repeated {
			i = min(i, len(arguments)-1)
		}
		if i >= len(arguments) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return arguments[i](cmd, args, prefix)
	}
}

// argumentNames returns the names of the arguments in a usage line, and whether
// the last one may be repeated. What comes after that one is not returned.
func argumentNames(use string) (names []string, repeated bool) {
	for _, word := range strings.Fields(use)[1:] {
		name, repeated := strings.CutSuffix(strings.Trim(word, "[]"), "...")
		if strings.HasPrefix(name, "-") {
			break
		}
		names = append(names, name)
		if repeated {
			return names, true
		}
	}
	return names, false
}

// completeFiles returns what completes folders, and files with the extensions in
// lower or upper case.
func completeFiles(extensions ...string) cobra.CompletionFunc {
	var all []cobra.Completion
	for _, e := range extensions {
		all = append(all, e, strings.ToUpper(e))
	}
	return cobra.FixedCompletions(all, cobra.ShellCompDirectiveFilterFileExt)
}

func completeImages(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var extensions []string
	for _, e := range imageExtensions {
		extensions = append(extensions, e[1:])
	}
	return completeFiles(extensions...)(cmd, args, prefix)
}

func completeFolders(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func completeAnyFile(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func completeDevices(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := []cobra.Completion{"auto\tthe first GPU, else the CPU"}
	for _, d := range ggml.Devices() {
		names = append(names, cobra.CompletionWithDesc(d.Name, d.Description))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func completeCommands(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var names []cobra.Completion
	for _, c := range cmd.Root().Commands() {
		if c.IsAvailableCommand() && len(args) == 0 {
			names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// isCompletion reports whether arguments are a shell's request for completions.
func isCompletion(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// plainUsages removes the marks of placeholders from the usages of all flags:
// shells show a usage as it is.
func plainUsages(root *cobra.Command) {
	plain := func(f *pflag.Flag) { _, f.Usage = pflag.UnquoteUsage(f) }
	for _, cmd := range append(root.Commands(), root) {
		cmd.InitDefaultHelpFlag()
		cmd.Flags().VisitAll(plain)
		cmd.PersistentFlags().VisitAll(plain)
	}
}
