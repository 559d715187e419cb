# Docker and libvirt: the running ones if there are any, else private ones. To be sourced after
# services.sh. Sets DOCKER_HOST and LIBVIRT_DEFAULT_URI, which docker and virsh obey.

docker_answers() { docker version; }
libvirt_answers() { timeout 30 virsh version; }

find_docker() {
  export DOCKER_HOST=unix:///var/run/docker.sock
  if docker_answers >/dev/null 2>&1; then
    say "Docker $(docker version --format '{{.Server.Version}}') is running and will be used"
    return
  fi
  export DOCKER_HOST=unix://$volatile/docker.sock
  service_runs docker || start_private_docker
  await 120 "an answer of the private dockerd ($(service_log docker))" docker_answers
  say "the host runs no Docker: a private one is used, $DOCKER_HOST"
}

# It leaves the host's packet filter and bridges alone, so its containers have managed networks only,
# and keeps its mounts to itself.
start_private_docker() {
  mkdir -p "$private/docker" "$volatile"
  start_service docker unshare --mount --propagation slave dockerd --host "$DOCKER_HOST" --data-root "$private/docker" \
    --exec-root "$volatile/docker" --pidfile "$volatile/dockerd.pid" --bridge=none --iptables=false \
    --ip-masq=false --ip-forward=false --userland-proxy=false
  becomes docker dockerd
}

find_libvirt() {
  export LIBVIRT_DEFAULT_URI=qemu:///system
  if libvirt_answers >/dev/null 2>&1; then
    say "libvirt $(virsh version --daemon | sed -n 's/^Running against daemon: //p') is running and will be used"
    return
  fi
  export LIBVIRT_DEFAULT_URI="qemu:///system?socket=$private/libvirt/socket/libvirt-sock"
  service_runs libvirt || start_private_libvirt
  await 120 "an answer of the private libvirtd ($(service_log libvirt))" libvirt_answers
  say "the host runs no libvirt: a private one is used, $LIBVIRT_DEFAULT_URI"
}

# In a mount namespace with folders of its own in place of the system's. Run by root throughout,
# else it would find /dev/kvm usable for itself but not for its guests, and probe again at each call.
start_private_libvirt() {
  local folder=$private/libvirt
  mkdir -p "$folder"/{run,lib/qemu,log,cache,socket,etc/hooks}
  [ ! -d /etc/libvirt ] || cp /etc/libvirt/*.conf "$folder/etc/" 2>/dev/null || true
  printf '%s\n' 'user = "root"' 'group = "root"' 'remember_owner = 0' 'security_driver = "none"' \
    'stdio_handler = "file"' 'namespaces = []' >"$folder/etc/qemu.conf"
  printf '%s\n' "unix_sock_dir = \"$folder/socket\"" 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' \
    >"$folder/libvirtd.conf"
  cat >"$folder/start" <<START
#!/bin/bash
set -eu
cd $folder
for pair in run:/run/libvirt lib:/var/lib/libvirt log:/var/log/libvirt cache:/var/cache/libvirt etc:/etc/libvirt; do
  mkdir -p "\${pair#*:}"
  mount --bind "\${pair%%:*}" "\${pair#*:}"
done
exec libvirtd --config $folder/libvirtd.conf --pid-file $folder/libvirtd.pid --timeout 0
START
  chmod 755 "$folder/start"
  start_service libvirt unshare --mount --propagation private "$folder/start"
  becomes libvirt libvirtd
}
