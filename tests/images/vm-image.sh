#!/bin/bash
# Builds a small virtual machine image that boots like a stock cloud image: firmware, boot sector,
# boot loader, kernel, all from its own disk.
#
#   vm-image.sh OUT.qcow2 [CACHE-FOLDER]
#
# Made of Debian's (or Ubuntu's) packages alone: their cloud kernel, which apt-get fetches once into
# the cache folder, and the installed busybox-static and syslinux. The disk is one FAT file system
# without a partition table, filled through mtools, so that nothing is mounted and no root needed.
# What the guest does is in guest-init beside this script. Nothing is built again while the result is
# newer than its sources.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: vm-image.sh OUT.qcow2 [CACHE-FOLDER]}
cache=${2:-$(dirname "$out")/kernel-package}
# Besides these: virtio's own, which each of them pulls in.
modules="virtio_pci virtio_net virtio_blk virtio_rng virtio_balloon vfat isofs nls_cp437 nls_ascii
 nls_iso8859-1 nls_utf8 button evdev"

need() {
    command -v "$1" >/dev/null || { echo "$1 is missing: install $2" >&2; exit 1; }
}
export PATH=$PATH:/usr/sbin:/sbin
need busybox busybox-static
need syslinux syslinux
need mkfs.vfat dosfstools
need mcopy mtools
need qemu-img qemu-utils
need modprobe kmod
need cpio cpio
need lz4 lz4

if [ "$out" -nt "$0" ] && [ "$out" -nt "$here/guest-init" ]; then
    exit 0
fi

# The packages that hold the newest cloud kernel: Debian keeps modules beside the kernel, Ubuntu
# in a package of their own.
kernel_packages() {
    local meta
    for meta in linux-image-cloud-amd64 linux-image-virtual; do
        apt-cache depends "$meta" 2>/dev/null |
            sed -n 's/.*Depends: \(linux-image-[0-9].*\|linux-modules-[0-9].*\)/\1/p' || true
    done | sort -u
}

fetch_kernel() {
    local packages
    mkdir -p "$cache"
    ls "$cache"/linux-image-*.deb >/dev/null 2>&1 && return
    packages=$(kernel_packages)
    [ -n "$packages" ] || { echo "no cloud kernel in apt's lists: run apt-get update" >&2; exit 1; }
    # As root, apt would hand the download to a user that may not write here.
    (cd "$cache" && apt-get -q -o APT::Sandbox::User=root download $packages $(modules_of $packages))
}

# linux-modules-VERSION for linux-image-VERSION, where that exists.
modules_of() {
    local package name
    for package; do
        name=${package/linux-image-/linux-modules-}
        if [ "$name" != "$package" ] && apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
        fi
    done
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch_kernel
mkdir "$work/kernel" "$work/root"
for package in "$cache"/*.deb; do
    dpkg-deb -x "$package" "$work/kernel"
done
version=$(ls "$work/kernel/lib/modules" | head -1)
depmod -b "$work/kernel" "$version"

# The initial RAM file system is the whole system.
root=$work/root
mkdir -p "$root"/{bin,dev,drive,etc,modules,proc,root,run,sys,tmp,var/run,www}
install -m 755 "$(command -v busybox)" "$root/bin/busybox"
busybox --list | grep -vx busybox | while read -r applet; do
    ln -s /bin/busybox "$root/bin/$applet"
done
install -m 755 "$here/guest-init" "$root/init"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

for module in $modules; do
    # Drivers that are built in have nothing to load.
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" 2>/dev/null |
        sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' > "$work/modules"
while read -r path; do
    name=$(basename "$path")
    case $path in
        *.zst) zstd -q -d "$path" -o "$root/modules/${name%.zst}" ;;
        *.xz) xz -d -c "$path" > "$root/modules/${name%.xz}" ;;
        *) cp "$path" "$root/modules/" ;;
    esac
    echo "${name%.zst}" | sed 's/\.xz$//' >> "$root/modules/order"
done < "$work/modules"
# lz4, because an emulated processor unpacks it fastest.
(cd "$root" && find . | sort | cpio --quiet --create --format=newc --owner=0:0) |
    lz4 -q -l -9 > "$work/initrd"

cat > "$work/syslinux.cfg" <<'CONFIG'
DEFAULT linux
PROMPT 0
TIMEOUT 0
LABEL linux
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on
CONFIG
truncate --size 32M "$work/disk.raw"
mkfs.vfat -n GUEST "$work/disk.raw" >/dev/null
syslinux --install "$work/disk.raw"
mcopy -i "$work/disk.raw" "$work/kernel/boot/vmlinuz-$version" ::vmlinuz
mcopy -i "$work/disk.raw" "$work/initrd" ::initrd
mcopy -i "$work/disk.raw" "$work/syslinux.cfg" ::syslinux.cfg
mkdir -p "$(dirname "$out")"
qemu-img convert -q -f raw -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
mv "$work/disk.qcow2" "$out"
