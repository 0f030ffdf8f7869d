#!/bin/sh
# Downloads the same repositories with the official client (Python's huggingface_hub)
# and with `paligemma pull`, from a hub on this machine, and compares the files; then
# converts from the official client's cache, which must stay as it is:
#
#	scripts/hub/official.sh bin/paligemma testdata/checkpoints [PYTHON]
set -eu
binary=$1 dir=$2 python=${3:-python3}
work=$(mktemp -d)
go build -o "$work/hub" ./scripts/hub
"$work/hub" "$dir" >"$work/address" &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
while [ ! -s "$work/address" ]; do sleep 0.1; done
HF_ENDPOINT=$(cat "$work/address") HF_HOME=$work/hf XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/data HF_HUB_DISABLE_PROGRESS_BARS=1
export HF_ENDPOINT HF_HOME XDG_CACHE_HOME XDG_DATA_HOME HF_HUB_DISABLE_PROGRESS_BARS
for checkpoint in "$dir"/*; do
	name=$(basename "$checkpoint")
	direct=$("$binary" pull "test/$name" --keep -q)
	cp "$direct" "$work/direct.gguf"
	snapshot=$("$python" -c "import huggingface_hub as h; print(h.snapshot_download('test/$name'))")
	diff -r "$snapshot" "$work"/cache/paligemma/downloads/"test--$name"/*/"$name"
	find "$HF_HOME" -type f -exec cksum {} + | sort >"$work/before"
	"$binary" rm "test/$name" -q >"$work/removed"
	cached=$(HF_HUB_OFFLINE=1 "$binary" pull "test/$name" -q)
	cmp "$cached" "$work/direct.gguf"
	find "$HF_HOME" -type f -exec cksum {} + | sort | cmp - "$work/before"
	echo "$name: the same files, and the same model from the official cache"
done
