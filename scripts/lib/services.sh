# Daemons that outlive the script: transient units where systemd runs, else processes with a file
# that holds their id. To be sourced after places.sh.

have_systemd() { [ -d /run/systemd/system ]; }

# The id in a file is believed only while that process still runs the same program.
service_pid() {
  local pid program running
  read -r pid program 2>/dev/null <"$volatile/$1.pid" || return 1
  running=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  # A program that was replaced since is shown as deleted.
  [ "${running% (deleted)}" = "$program" ] || return 1
  echo "$pid"
}

service_runs() {
  if have_systemd; then systemctl --quiet is-active "stampede-$1.service"; else service_pid "$1" >/dev/null; fi
}

# start_service NAME PROGRAM ARGUMENT...
start_service() {
  local name=$1 program
  shift
  program=$(readlink -f "$(command -v "$1")")
  if have_systemd; then
    # What a daemon started (containers' shims, machines) is not its to end.
    systemd-run --quiet --unit="stampede-$name" --description="Stampede: $name" --collect \
      --property=Type=exec --property=KillMode=process --property=Delegate=yes \
      --property=LimitNOFILE=1048576 "$@"
    return
  fi
  mkdir -p "$volatile" "$logs"
  setsid "$@" </dev/null >>"$logs/$name.log" 2>&1 &
  echo "$! $program" >"$volatile/$name.pid"
}

# becomes NAME PROGRAM: what was started goes on as another program under the same process id.
becomes() {
  [ ! -e "$volatile/$1.pid" ] || sed -i "s| .*| $(readlink -f "$(command -v "$2")")|" "$volatile/$1.pid"
}

# Asks a service to end and waits until it has.
stop_service() {
  local name=$1 pid
  if have_systemd; then
    systemctl --quiet stop "stampede-$name.service" 2>/dev/null || true
    return
  fi
  pid=$(service_pid "$name") || { rm -f "$volatile/$name.pid"; return 0; }
  kill "$pid" 2>/dev/null || true
  tail --pid="$pid" -f /dev/null
  rm -f "$volatile/$name.pid"
}

service_log() {
  if have_systemd; then echo "journalctl -u stampede-$1"; else echo "$logs/$1.log"; fi
}

# await SECONDS WHAT COMMAND...: runs the command until it succeeds.
await() {
  local limit=$1 what=$2 began=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $((SECONDS - began)) -lt "$limit" ] || die "waited $limit s for $what, in vain"
    sleep 0.2
  done
}

# A process that has just begun does not run its program yet, so this asks only whether it is there.
service_ended() {
  local pid _
  if have_systemd; then ! systemctl --quiet is-active "stampede-$1.service"; return; fi
  read -r pid _ 2>/dev/null <"$volatile/$1.pid" || return 0
  ! readlink "/proc/$pid/exe" >/dev/null
}

# await_service SECONDS NAME WHAT COMMAND...: the same, but gives up as soon as the service has ended.
await_service() {
  local limit=$1 name=$2 what=$3 began=$SECONDS
  shift 3
  until service_runs "$name" && "$@" >/dev/null 2>&1; do
    ! service_ended "$name" || die "$name has ended; its log says why: $(service_log "$name")"
    [ $((SECONDS - began)) -lt "$limit" ] || die "waited $limit s for $what ($(service_log "$name")), in vain"
    sleep 0.2
  done
}
