//go:build unix

package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// completeIn are scripts for shells that load the completion script in the file
// $1, and print what the shell completes the lines after it to: each line with
// "? " before it, then a line for each completion.
var completeIn = map[string]string{
	"bash": `
. /usr/share/bash-completion/bash_completion || exit
. "$1"
shift
# bash itself completes files where there are no completions, unless it is told not to.
compopt() { [[ $* == "+o default" ]] && files=; }
type() { if [[ $* == "-t compopt" ]]; then echo builtin; else builtin type "$@"; fi; }
for line; do
	printf '? %s\n' "$line"
	files=1 COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=63 COMP_KEY=9
	# As readline splits a line, = is a word.
	read -ra COMP_WORDS <<<"${line//=/ = }"
	[[ $line == *' ' ]] && COMP_WORDS+=('')
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	__start_paligemma
	[[ $files && ${#COMPREPLY[@]} == 0 ]] && mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
	printf '%s\n' "${COMPREPLY[@]}"
done
`,
	"fish": `
source $argv[1]
for line in $argv[2..-1]
	echo "? $line"
	complete -C $line
end
`,
	"zsh": `
zmodload zsh/zpty || exit
zpty shell zsh -f -i
# read_until prints what the shell writes, until it has written $1.
read_until() {
	local text line
	while zpty -r shell line; do
		text+=$line
		[[ $line == *$1* ]] && break
	done
	print -r -- $text
}
zpty -w shell "PS1= PS2= fpath=(${1:h} \$fpath); unsetopt auto_list auto_menu beep; stty -echo; autoload -Uz compinit; compinit -u -D"
# Every match that a completion function adds is printed.
zpty -w shell 'compadd() {
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
	typeset -a hits
	builtin compadd -A hits "$@"
	local hit; for hit in $hits; do print -r -- "HIT $hit"; done
	builtin compadd "$@"
}
finish() { comppostfuncs=(finish); print -r -- DONE$((1+1)) }
comppostfuncs=(finish)
zle -C ask complete-word _main_complete
bindkey "^I" ask
print LOADED$((1+1))'
read_until LOADED2 >/dev/null
shift
for line; do
	print -r -- "? $line"
	# ^U empties the line.
	zpty -w -n shell $'\C-u'"$line"$'\t'
	read_until DONE2 | tr -d '\r' | sed -n 's/.*HIT //p'
done
zpty -d shell
`,
}

// Real shells complete what the scripts say. A shell that is missing is named.
func TestShells(t *testing.T) {
	for shell, script := range completeIn {
		t.Run(shell, func(t *testing.T) {
			needShell(t, shell)
			dir := t.TempDir()
			loaded := filepath.Join(dir, "_paligemma")
			var out, errs strings.Builder
			if code := Run(t.Context(), []string{"completion", shell}, Streams{Out: &out, Err: &errs}); code != exitOK {
				t.Fatal(errs.String())
			}
			asking := filepath.Join(dir, "ask")
			if err := os.WriteFile(loaded, []byte(out.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(asking, []byte(script), 0o600); err != nil {
				t.Fatal(err)
			}
			tests := completionTests()
			answers := askShell(t, shell, asking, loaded, tests)
			for _, tt := range tests {
				t.Run(tt.line, func(t *testing.T) {
					if got := answers[tt.line]; !slices.Equal(got, tt.want) {
						t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
					}
				})
			}
		})
	}
}

// needShell skips the test where a shell, or for bash what completes files, is
// not installed.
func needShell(t *testing.T, shell string) {
	t.Helper()
	if _, err := exec.LookPath(shell); err != nil {
		t.Skipf("%s is not installed", shell)
	}
	if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); shell == "bash" && err != nil {
		t.Skip("bash: bash-completion is not installed")
	}
}

// completionFolder makes a folder with a file of each kind.
func completionFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"BIG.GGUF", "model.gguf", "photo.jpg", "SCAN.PNG", "two words.webp", "notes.txt", "masks.npz",
		"weights.safetensors", "weights.safetensors.index.json", "config.json", "models/deep.gguf", "my dir/x",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// completionStore makes a folder of data with a model that was pulled.
func completionStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "paligemma", "models", "google", "tiny", "q8_0.gguf")
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err = errors.Join(err, os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir
}

type completionTest struct {
	line string
	want []string // sorted, see plainCompletion
}

// completionTests are the same for all shells.
func completionTests() []completionTest {
	pictures := []string{"SCAN.PNG", "models", "my dir", "photo.jpg", "two words.webp"}
	models := []string{"BIG.GGUF", "model.gguf", "models", "my dir"}
	stored := []string{"tiny:q8_0"} // see completionStore
	return []completionTest{
		{"paligemma ca", []string{"caption"}},
		{"paligemma help co", []string{"completion", "convert"}},
		{"paligemma help caption ", nil},
		{"paligemma completion ", []string{"bash", "fish", "powershell", "zsh"}},
		{"paligemma caption ", pictures},
		{"paligemma caption photo.jpg ", pictures},
		{"paligemma caption ph", []string{"photo.jpg"}},
		{"paligemma detect ", nil},
		{"paligemma detect cat ", pictures},
		{"paligemma segment cat ", pictures},
		{"paligemma parse ", nil},
		{"paligemma parse --image ", pictures},
		{"paligemma caption --model ", append(slices.Clone(models), stored...)},
		{"paligemma caption -m ", append(slices.Clone(models), stored...)},
		{"paligemma caption --model=", append(slices.Clone(models), stored...)},
		{"paligemma caption --model models/", []string{"deep.gguf"}},
		{"paligemma convert ", []string{"masks.npz", "models", "my dir", "weights.safetensors", "weights.safetensors.index.json"}},
		{"paligemma convert weights.safetensors ", models},
		{"paligemma quantize ", append(slices.Clone(models), stored...)},
		{"paligemma inspect ", append(slices.Clone(models), stored...)},
		{"paligemma segment --mask-decoder ", []string{"BIG.GGUF", "masks.npz", "model.gguf", "models", "my dir"}},
		{"paligemma segment --mask-dir ", []string{"models", "my dir"}},
		{"paligemma detect --label-dir ", []string{"models", "my dir"}},
		{"paligemma detect --draw ", []string{"SCAN.PNG", "models", "my dir", "photo.jpg"}},
		{"paligemma caption --files-from no", []string{"notes.txt"}},
		{"paligemma caption --max-tokens ", nil},
		{"paligemma vqa --prompt ", nil},
		{"paligemma caption --device ", []string{"auto", "cpu"}},
		{"paligemma caption --style ", []string{"coco", "detailed", "short"}},
		{"paligemma caption --lang f", []string{"fa", "fi", "fr"}},
		{"paligemma convert x --type q4_k", []string{"q4_k_m", "q4_k_s"}},
		{"paligemma quantize x --type f", []string{"f16", "f32"}},
		{"paligemma version ", nil},
		{"paligemma show ", stored},
		{"paligemma rm google/t", stored},
		{"paligemma pull google/paligemma2-28b-m", []string{"paligemma2-28b-mix-224", "paligemma2-28b-mix-448"}},
		{"paligemma caption -m goo", stored},
	}
}

// askShell returns what a shell completes the lines of the tests to.
func askShell(t *testing.T, shell, asking, loaded string, tests []completionTest) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	options := map[string]string{"bash": "--norc", "fish": "--no-config", "zsh": "-f"}
	cmd := exec.CommandContext(ctx, shell, options[shell], asking, loaded)
	for _, tt := range tests {
		cmd.Args = append(cmd.Args, tt.line)
	}
	cmd.Dir = completionFolder(t)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_DATA_HOME="+completionStore(t), "TERM=dumb", "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string][]string{}
	asked := ""
	for text := range strings.Lines(string(out)) {
		text, description, _ := strings.Cut(strings.TrimSuffix(text, "\n"), "\t")
		if line, ok := strings.CutPrefix(text, "? "); ok {
			asked = line
			continue
		}
		if strings.Contains(description, "`") {
			t.Errorf("%q has a backtick in %q", asked, description)
		}
		if text = plainCompletion(text); text != "" {
			answers[asked] = append(answers[asked], text)
		}
	}
	for asked, texts := range answers {
		slices.Sort(texts)
		answers[asked] = slices.Compact(texts)
	}
	return answers
}

// plainCompletion removes what shells do in different ways: quotes, the slash after
// a folder, the folder of a file, the flag before its value.
func plainCompletion(text string) string {
	text = strings.TrimSuffix(strings.ReplaceAll(text, `\`, ""), "/")
	if flag, value, ok := strings.Cut(text, "="); ok && strings.HasPrefix(flag, "--") {
		text = value
	}
	if text == "" {
		return ""
	}
	return path.Base(text)
}
