#!/bin/bash
# Builds the root file system of a small container image from the installed busybox-static.
#
#   container-image.sh OUT.tar        then: docker import OUT.tar NAME
#
# Has sh, ping, nslookup, wget, nc, httpd and everything else of busybox; /www is what httpd is
# meant to serve. Nothing is downloaded. The result is the same for the same busybox.
set -euo pipefail

out=${1:?usage: container-image.sh OUT.tar}
busybox=$(command -v busybox) || { echo "busybox is missing: install busybox-static" >&2; exit 1; }
if ldd "$busybox" >/dev/null 2>&1; then
    echo "$busybox is not static: install busybox-static" >&2
    exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,etc,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/run,www}
chmod 1777 "$root/tmp"
install -m 755 "$busybox" "$root/bin/busybox"
# An applet called busybox would be a link to itself.
"$busybox" --list | grep -vx busybox | while read -r applet; do
    ln -s /bin/busybox "$root/bin/$applet"
done
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

mkdir -p "$(dirname "$out")"
tar --create --file "$work/image.tar" --directory "$root" \
    --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
mv "$work/image.tar" "$out"
