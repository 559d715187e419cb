# Where `make run` keeps things, and how the scripts talk. To be sourced.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=/var/lib/stampede      # programs, settings, images, and each daemon's data
volatile=/run/stampede       # sockets and process ids
logs=/var/log/stampede       # only without systemd
bin=$state/bin
api=http://127.0.0.1:9080
agent_listen=${AGENT_LISTEN:-127.0.0.1:9443}
private=$state/private       # Docker and libvirt of our own, where none is running
agent_config=$state/agentd.toml
control_config=$state/controld.toml
export PATH=$PATH:/usr/sbin:/sbin

step() { printf '\n== %s\n' "$*"; }
say() { printf '   %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

require_root() {
  [ "$(id -u)" = 0 ] || die "namespaces, Docker and libvirt need root; run it as root, for instance by sudo"
}
