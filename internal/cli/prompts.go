package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// promptHelp describes what --prompt takes.
const promptHelp = `

--prompt @FILE takes the prompt from a file and --prompt - from standard input,
in both without the newline at its end; --prompt @@x is the prompt "@x".`

// maxPrompt bounds a file with a prompt, in bytes.
const maxPrompt = maxLine

// readPrompts returns the prompts that values of --prompt stand for: @FILE the text
// of a file without the newline at its end, - that of standard input, @@x the text
// @x, and all else itself.
func (a *app) readPrompts(ctx context.Context, values []string, o askOptions) ([]string, error) {
	if i := slices.Index(values, stdinName); i >= 0 {
		others := slices.Concat(values[i+1:], o.images, []string{o.image.FilesFrom})
		if slices.Contains(others, stdinName) {
			return nil, errStdinTwice
		}
	}
	prompts := make([]string, len(values))
	for i, value := range values {
		path, isFile := strings.CutPrefix(value, "@")
		switch {
		case value == stdinName:
			path = value
		case !isFile:
			prompts[i] = value
			continue
		case strings.HasPrefix(path, "@"):
			prompts[i] = path
			continue
		case path == "":
			return nil, usageError{errors.New("--prompt @ lacks the name of a file (@@ stands for @)")}
		}
		shown := source{path: path}.shown()
		a.noteWaiting(path)
		data, err := a.readText(ctx, path, maxPrompt)
		if err != nil {
			return nil, fmt.Errorf("--prompt %s: %w", shown, err)
		}
		prompts[i] = string(trimEnd(data))
	}
	return prompts, nil
}

// errStdinTwice says that standard input is named in two places.
var errStdinTwice = usageError{errors.New("standard input (-) can be read only once")}

// splitQuestion takes a question from the end of arguments, if the last one cannot
// be an image: it is not -, does not exist, matches no file as a pattern, and is not
// called as a picture is.
func splitQuestion(args []string) (images []string, question string, ok bool) {
	if len(args) == 0 {
		return args, "", false
	}
	last := args[len(args)-1]
	if last == "" || last == stdinName || looksLikePath(last) {
		return args, "", false
	}
	return args[:len(args)-1], last, true
}

// looksLikePath reports whether an argument names or matches files, or would name a
// picture if there were one.
func looksLikePath(arg string) bool {
	if _, err := os.Stat(arg); err == nil {
		return true
	}
	if strings.ContainsAny(arg, "*?[") && len(matches(arg)) > 0 {
		return true
	}
	if strings.ContainsAny(arg, " \t\n") {
		return false
	}
	return namedAsPicture(arg) || strings.ContainsRune(arg, os.PathSeparator)
}
