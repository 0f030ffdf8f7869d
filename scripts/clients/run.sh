#!/bin/sh
# Asks a server what official, unmodified clients ask: OpenAI's packages for Python and
# Node, and Ollama's for Python. The packages come from pip and npm into a temporary
# folder; where one of these is missing, that is said and its clients are left out.
#
#	scripts/clients/run.sh bin/paligemma [--more]
#
# What CI runs is pinned, so that no release of others breaks it; change the versions to try
# new ones. --more tries the newest of others, too: litellm, LangChain, llm, Pydantic AI, Instructor,
# ollama and ai for Node, openai-go.
# The exit code is 0 if all that were tried did as they should, 2 if none could be tried.
set -u
binary=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
picture=$here/../../testdata/scenes/demo.png
work=$(mktemp -d)
server=
trap 'test -z "$server" || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT

"$binary" serve --port 0 2>"$work/log" &
server=$!
address=
for _ in $(seq 100); do
	address=$(sed -n 's/.*listening on \(http:[^ ]*\).*/\1/p' "$work/log" | head -n 1)
	test -z "$address" || break
	sleep 0.1
done
test -n "$address" || { echo "the server did not start:"; cat "$work/log"; exit 1; }
export ADDRESS="$address" PICTURE="$picture" OPENAI_API_KEY=none OPENAI_BASE_URL="$address/v1" OLLAMA_HOST="$address"

tried=0 failed=0
# attempt NAME CMD…: runs a client.
attempt() {
	name=$1
	shift
	tried=$((tried + 1))
	if "$@"; then echo "$name: ok"; else echo "$name: FAILED"; failed=$((failed + 1)); fi
}

# Python's clients. A package that cannot be installed is a client that is left out.
if command -v python3 >/dev/null && python3 -m venv "$work/venv" 2>/dev/null; then
	python=$work/venv/bin/python
	# client PACKAGES SCRIPT
	client() {
		if "$python" -m pip install -q --disable-pip-version-check $1 2>"$work/pip"; then
			attempt "$2" "$python" "$here/$2"
		else
			echo "$2: left out: pip cannot install $1: $(tail -n 1 "$work/pip")"
		fi
	}
	client openai==3.57.0 openai_client.py
	client ollama==0.6.3 ollama_client.py
	if [ "${2-}" = --more ]; then
		client litellm litellm_client.py
		client "langchain-openai langchain-ollama" langchain_client.py
		client llm llm_client.py
		client "pydantic-ai-slim[openai] instructor" pydanticai_client.py
	fi
else
	echo "Python's clients: left out: python3 with venv is missing"
fi

# package NAME PACKAGES: tries a package for Node.
package() {
	mkdir -p "$work/$1"
	cp "$here/$1_client.mjs" "$work/$1"
	if (cd "$work/$1" && npm install --silent --no-fund --no-audit $2) 2>"$work/npm" >&2; then
		attempt "$1_client.mjs" node "$work/$1/$1_client.mjs"
	else
		echo "$1_client.mjs: left out: npm cannot install $2: $(tail -n 1 "$work/npm")"
	fi
}
if command -v npm >/dev/null && command -v node >/dev/null; then
	package openai openai@6.49.0
	if [ "${2-}" = --more ]; then
		package ollama ollama@0.6.4
		package ai "ai @ai-sdk/openai @ai-sdk/openai-compatible"
	fi
else
	echo "Node's clients: left out: node or npm is missing"
fi

if [ "${2-}" = --more ] && command -v go >/dev/null; then
	mkdir "$work/go"
	cp "$here/openai_client.go.txt" "$work/go/main.go"
	if (cd "$work/go" && go mod init clients && go get github.com/openai/openai-go/v3 && go mod tidy) 2>"$work/gomod"; then
		attempt openai-go sh -c "cd '$work/go' && go run ."
	else
		echo "openai-go: left out: $(tail -n 1 "$work/gomod")"
	fi
fi

echo "$tried clients tried, $failed failed"
test "$tried" -gt 0 || exit 2
test "$failed" -eq 0
