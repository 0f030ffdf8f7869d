#!/bin/sh
# Pulls a model, killed (SIGKILL) at random moments and begun again until it is there,
# and compares it with one that was pulled without a break:
#
#	scripts/hub/kill.sh bin/paligemma testdata/checkpoints pg2-tiny [ROUNDS]
set -eu
binary=$1 dir=$2 name=$3 rounds=${4:-20}
work=$(mktemp -d)
go build -o "$work/hub" ./scripts/hub
"$work/hub" -rate 300000 "$dir" >"$work/address" &
server=$!
trap 'kill $server; rm -rf "$work"' EXIT
while [ ! -s "$work/address" ]; do sleep 0.1; done
HF_ENDPOINT=$(cat "$work/address") HF_HOME=$work/none XDG_CACHE_HOME=$work/cache XDG_DATA_HOME=$work/whole
export HF_ENDPOINT HF_HOME XDG_CACHE_HOME XDG_DATA_HOME
whole=$("$binary" pull "test/$name" -q)
XDG_DATA_HOME=$work/broken
kills=0
for round in $(seq "$rounds"); do
	rm -rf "$work/broken"
	while :; do
		"$binary" pull "test/$name" -q >"$work/path" & pull=$!
		(sleep "$(awk -v seed="$round$kills" 'BEGIN { srand(seed); print rand() * 1.5 }')"; kill -9 $pull 2>/dev/null) & killer=$!
		if wait $pull 2>/dev/null; then kill $killer 2>/dev/null || :; break; fi
		kills=$((kills + 1))
	done
	cmp "$whole" "$(cat "$work/path")"
	if [ -n "$(find "$work/broken" "$work/cache" -type f ! -name '*.gguf')" ]; then
		echo "left behind:"; find "$work/broken" "$work/cache" -type f; exit 1
	fi
done
echo "$rounds pulls with $kills kills: the same file each time"
