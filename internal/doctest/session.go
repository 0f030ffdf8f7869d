package doctest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// tools are programs that recipes use and not every system has. Each pattern
// finds the name where a command stands; `paligemma convert` is none.
var tools = map[string]*regexp.Regexp{}

func init() {
	for _, name := range []string{"convert", "curl", "ffmpeg", "jq", "python3"} {
		tools[name] = atCommand(name)
	}
}

// program finds the calls of paligemma in a script.
var program = atCommand("paligemma")

// atCommand matches a name at the start of a line or after what separates
// commands.
func atCommand(name string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)(?:^\s*|[|;&({]\s*|\b(?:do|then|else)\s+)` + name + `\s`)
}

// Result is what became of a command.
type Result struct {
	Missing []string // programs that it needs and that are missing: it was not run
	Output  []string // lines of standard output
	Errors  string   // standard error
	Failed  string   // what failed in it, or empty
}

// port is the one of servers that pages start. Tests that run side by side use others in
// its place.
const port = "8080"

// freePort returns a port that nobody listens on.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// Run executes all commands of blocks, in order, in one shell, in the folder
// dir with the environment env. Blocks that need something are only checked:
// paligemma must know the commands and flags in them.
func Run(ctx context.Context, dir string, env []string, blocks []Block) ([]Result, error) {
	work, err := os.MkdirTemp("", "doctest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	free, err := freePort()
	if err != nil {
		return nil, err
	}
	var results []Result
	script := strings.ReplaceAll(prelude, "WORK", work)
	for _, b := range blocks {
		for _, c := range b.Commands {
			r := Result{}
			name := filepath.Join(work, strconv.Itoa(len(results)))
			if b.Needs != "" {
				r.Failed = check(ctx, env, c.Text)
			} else if r.Missing = missing(c.Text); r.Missing == nil {
				if err := os.WriteFile(name, []byte(strings.ReplaceAll(c.Text, port, free)), 0o600); err != nil {
					return nil, err
				}
				script += "run " + name + "\n"
			}
			results = append(results, r)
		}
	}
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile", "-c", script)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	for i := range results {
		if err := results[i].read(filepath.Join(work, strconv.Itoa(i)), free); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// prelude defines run, which evaluates a file in the shell itself, so that
// variables and the folder stay, and what runs in the background until the end. What fails in it is listed in a file; as with
// set -e, conditions do not count (and so run itself must not be one).
const prelude = `set -o pipefail -o errtrace
trap 'echo "exit code $?: $BASH_COMMAND" >>WORK/failed' ERR
trap 'jobs=$(jobs -p); [[ -z $jobs ]] || kill $jobs; wait' EXIT
run() {
	rm -f WORK/failed
	eval "$(<"$1")" >"$1.out" 2>"$1.err" </dev/null
	if [[ -e WORK/failed ]]; then mv WORK/failed "$1.failed"; fi
}
`

// read adds what run wrote about a command, if it was run, with free as its port.
func (r *Result) read(name, free string) error {
	out, err := os.ReadFile(name + ".out")
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(name); err == nil {
			r.Failed = "not reached: a command before it ended the shell"
		}
		return nil
	}
	errs, err2 := os.ReadFile(name + ".err")
	failed, err3 := os.ReadFile(name + ".failed")
	if errors.Is(err3, os.ErrNotExist) {
		err3 = nil
	}
	if text := strings.ReplaceAll(strings.TrimSuffix(string(out), "\n"), free, port); text != "" {
		r.Output = strings.Split(text, "\n")
	}
	r.Errors, r.Failed = string(errs), strings.TrimSpace(string(failed))
	return errors.Join(err, err2, err3)
}

// missing lists the tools that a script uses and the system lacks.
func missing(script string) []string {
	var names []string
	for name, pattern := range tools {
		if pattern.MatchString(script) {
			if _, err := exec.LookPath(name); err != nil {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// check returns what is wrong with the calls of paligemma in a script, without
// executing anything: each gets --help, and no other program is found.
func check(ctx context.Context, env []string, script string) string {
	dir, err := os.MkdirTemp("", "doctest-")
	if err != nil {
		return err.Error()
	}
	defer os.RemoveAll(dir)
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	if i < 0 {
		return "the environment has no PATH"
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(env[i], "PATH="), string(filepath.ListSeparator))
	if err := os.WriteFile(filepath.Join(dir, "script"), []byte(script), 0o600); err != nil {
		return err.Error()
	}
	cmd := exec.CommandContext(ctx, "bash", "--norc", "--noprofile", "-c", checker)
	cmd.Dir, cmd.Env = dir, append(slices.Clone(env), "PATH="+first)
	out, err := cmd.Output()
	if err != nil {
		return err.Error()
	}
	calls := strings.Count(string(out), "call\n")
	if wrong := strings.ReplaceAll(string(out), "call\n", ""); wrong != "" {
		return strings.TrimSpace(wrong)
	}
	if want := len(program.FindAllString(script, -1)); calls < want {
		return fmt.Sprintf("%d of %d calls of paligemma could not be checked", want-calls, want)
	}
	return ""
}

// checker evaluates a script whose calls of paligemma print "call" and, on
// standard output of the checker (3), what is wrong.
const checker = `exec 3>&1 >/dev/null 2>&1 </dev/null
command_not_found_handle() { return 0; }
paligemma() {
	echo call >&3
	local help
	if ! help=$(command paligemma "$@" --help 2>&1); then
		echo "paligemma $*: ${help%%$'\n'*}" >&3
	elif [[ $1 != -* && $help == "$(command paligemma --help)" ]]; then
		echo "paligemma $*: no such command" >&3
	fi
}
eval "$(<script)"
exit 0
`
