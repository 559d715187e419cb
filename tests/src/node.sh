#!/bin/bash
# PID 1 of a test node: gives it its own file system view, reports, and waits for its standard
# input to end. When the test's process dies, however it dies, the pipe closes, this script ends,
# and the kernel ends everything else in the node with it.
#
# usage: node.sh NAME FOLDER     FOLDER must be on a real file system (Docker's overlays need one)
set -eu
name=$1 folder=$2
read -r outer _ </proc/self/stat # this process' id outside, read before /proc becomes our own

mount --make-rprivate /
hostname "$name"
ip link set lo up

# Everything that daemons write under /etc and /var stays here; what is installed shows through.
mkdir -p "$folder"/{scratch,dev,cgroup,security,docker,stampede}
mount -t tmpfs tmpfs "$folder/scratch"
for tree in etc var; do
  mkdir -p "$folder/scratch/$tree/"{upper,work}
  mount -t overlay overlay -o "lowerdir=/$tree,upperdir=$folder/scratch/$tree/upper,workdir=$folder/scratch/$tree/work" "/$tree"
done
for place in docker stampede; do
  mkdir -p "/var/lib/$place"
  mount --bind "$folder/$place" "/var/lib/$place"
done
rm -f /etc/resolv.conf /etc/machine-id
echo "nameserver 203.0.113.100" >/etc/resolv.conf
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
printf '127.0.0.1 localhost %s\n' "$name" >/etc/hosts
# Emulated guests only, run by root: nothing here may depend on this machine's processor or users.
mkdir -p /etc/libvirt
printf '%s\n' 'user = "root"' 'group = "root"' 'remember_owner = 0' 'security_driver = "none"' \
  'stdio_handler = "file"' 'cgroup_controllers = []' 'namespaces = []' >/etc/libvirt/qemu.conf
rm -rf /etc/libvirt/qemu/networks/autostart

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock

# A /dev without /dev/kvm; the old one has to stay in reach until the new one is complete.
mount -t tmpfs -o mode=755 tmpfs "$folder/dev"
mkdir -p "$folder/dev/"{net,pts,shm}
for device in null zero full random urandom tty net/tun; do
  touch "$folder/dev/$device"
  mount --bind "/dev/$device" "$folder/dev/$device"
done
ln -s /proc/self/fd "$folder/dev/fd"
ln -s fd/0 "$folder/dev/stdin"
ln -s fd/1 "$folder/dev/stdout"
ln -s fd/2 "$folder/dev/stderr"
ln -s pts/ptmx "$folder/dev/ptmx"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$folder/dev/pts"
mount -t tmpfs tmpfs "$folder/dev/shm"
mount --rbind "$folder/dev" /dev

# /sys shows the devices of the network namespace it was mounted in; what is mounted below it moves
# over (dockerd wants control groups, and AppArmor's files where the kernel has AppArmor).
mount --rbind /sys/fs/cgroup "$folder/cgroup"
[ ! -d /sys/kernel/security ] || mount --rbind /sys/kernel/security "$folder/security"
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroup" /sys/fs/cgroup
[ ! -d /sys/kernel/security ] || mount --rbind "$folder/security" /sys/kernel/security
mount -t proc proc /proc

echo "ready $outer"
exec >/dev/null
while read -r _; do :; done
