//go:build unix

package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// completeIn are scripts for shells that load the completion script in the file
// $1 and print what the shell completes the line $2 to, a line each.
var completeIn = map[string]string{
	"bash": `
. /usr/share/bash-completion/bash_completion || exit
. "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_TYPE=63 COMP_KEY=9
# The words as readline splits them: = and : are words of their own.
read -ra words <<<"${2//=/ = }"
COMP_WORDS=("${words[@]}")
[[ $2 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
__start_paligemma
printf '%s\n' "${COMPREPLY[@]}"
`,
	"fish": `
source $argv[1]
complete -C $argv[2]
`,
	"zsh": `
zmodload zsh/zpty || exit
zpty shell zsh -f -i
# read_until prints what the shell writes until it writes a line with $1.
read_until() {
	local text line
	while zpty -r shell line; do
		text+=$line
		[[ $line == *$1* ]] && break
	done
	print -r -- $text
}
zpty -w shell "PS1= PS2= fpath=(${1:h} \$fpath); unsetopt zle_bracketed_paste 2>/dev/null; stty -echo; autoload -Uz compinit; compinit -u -D"
zpty -w shell 'setopt rc_quotes
# Every match that a completion function adds goes to the terminal.
compadd() {
	if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
	typeset -a __hits __texts
	zparseopts -E -a ignored d:=__d 2>/dev/null
	builtin compadd -A __hits "$@"
	[[ -n $__d[2] && $__d[2] != \(* ]] && __texts=("${(@P)__d[2]}")
	local i; for i in {1..$#__hits}; do print -r -- "HIT $__hits[i]"; done
	builtin compadd "$@"
}
finish() { print -r -- DONE$((1+1)) }
compprefuncs=()
comppostfuncs=(finish)
zle -C ask complete-word _main_complete
bindkey "^I" ask
print LOADED$((1+1))'
read_until LOADED2 >/dev/null
zpty -w -n shell "$2"$'\t'
read_until DONE2 | tr -d '\r' | sed -n 's/.*HIT //p'
zpty -d shell
`,
}
