#!/usr/bin/env bash
# Makes the root folder of a container: the program, the libraries that it is linked
# with, certificates of authorities, and a user who is not root. There is no shell.
#
#   make NATIVE=0 && deploy/rootfs.sh bin/paligemma build/rootfs
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: deploy/rootfs.sh BINARY DIR" >&2; exit 2; }
binary=$1 root=$2
[[ ! -e $root ]] || { echo "deploy/rootfs.sh: $root exists already: remove it" >&2; exit 1; }
umask 022
mkdir -p "$root"/{usr/bin,etc/ssl/certs,tmp,models}
install -m 755 "$binary" "$root/usr/bin/paligemma"

# Lines of ldd: NAME => PATH (ADDRESS), or PATH (ADDRESS) of the loader.
ldd "$binary" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
  [[ -f $library ]] || { echo "deploy/rootfs.sh: a library is missing: $library" >&2; exit 1; }
  install -D -m 755 "$(readlink -f "$library")" "$root$library"
done

for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  if [[ -f $file ]]; then
    install -m 644 "$file" "$root/etc/ssl/certs/ca-certificates.crt"
    break
  fi
done
echo 'paligemma:x:65532:65532::/:/usr/bin/false' >"$root/etc/passwd"
echo 'paligemma:x:65532:' >"$root/etc/group"
chmod 1777 "$root/tmp"
