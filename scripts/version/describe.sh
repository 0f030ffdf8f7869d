#!/bin/sh
# Prints the version of the source in this folder, from git: v0.15.0 on a tag,
# v0.15.0-12-g1a2b3c4 after it, devel-1a2b3c4 without a tag in reach, devel
# without git. -dirty follows where tracked files were changed. A repository
# around the folder, as around an unpacked tarball, does not count.
GIT_CEILING_DIRECTORIES=$(dirname "$(pwd -P)")
export GIT_CEILING_DIRECTORIES
git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null ||
	{ v=$(git describe --always --exclude '*' --dirty 2>/dev/null) && echo "devel-$v"; } ||
	echo devel
