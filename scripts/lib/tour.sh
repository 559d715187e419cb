# The tour of `make run`: a container and a virtual machine on one private network. To be sourced
# after api.sh and engines.sh.

tour_image=stampede-tour:1
# Fixed, so that a second run finds what the first one made.
tour_container=7a6f1f0e-3c52-4d9c-9a3e-5b1d2c8e4f01
tour_machine=7a6f1f0e-3c52-4d9c-9a3e-5b1d2c8e4f02
tour_limit=${TOUR_LIMIT:-900} # seconds; an emulated machine inside an emulated machine takes minutes

# Runs in the machine at its first boot; its output shows on the machine's serial console.
tour_userdata='#!/bin/sh
set -e
echo "this is $(hostname), $(ip -4 -o address show eth0 | tr -s " " | cut -d" " -f4)"
ping -c 3 web
echo "web answers: $(wget -q -O - http://web/)"
echo "metadata: instance-id $(wget -q -O - http://169.254.169.254/latest/meta-data/instance-id)"
echo tour complete'

take_tour() {
  local container machine
  step "A container and a virtual machine on the network 'managed'"
  container=$(ensure containers "$tour_container" "$(jq -nc --arg image "docker:$tour_image" \
    '{name: "web", imageUuid: $image, command: "sh", commandArgs: ["-c", "hostname > /www/index.html; exec httpd -f -h /www"]}')")
  ensure images tour-machine "$(jq -nc --arg url "file://$state/images/vm.qcow2" \
    '{name: "tour-machine", url: $url, format: "qcow2"}')" >/dev/null
  await_state "$tour_limit" "containers/$container" running
  # The machine speaks to the container as soon as it is up, so the container comes first.
  machine=$(ensure virtualMachines "$tour_machine" "$(jq -nc --arg userdata "$tour_userdata" \
    '{name: "vm", imageUuid: "tour-machine", memoryMb: 192, userdata: $userdata}')")
  await_state "$tour_limit" "virtualmachines/$machine" running
  api GET instances?removed_null=1 | jq -r '.data[] | "   \(.id)  \(.type)  \(.name)  \(.primaryIpAddress)"'
  show_machine_side
  show_container_side
}

# What the machine found, from its serial console.
show_machine_side() {
  local console
  step "The machine boots, gets its address by DHCP, and talks to the container by name"
  console=$(console_of "$tour_machine")
  await "$tour_limit" "the machine's word on its console, $console" machine_is_done "$console"
  tr -d '\r' <"$console" | sed -n 's/^STAMPEDE-GUEST \(dhcp-.*\|mtu-.*\|instance-id=.*\|local-ipv4=.*\|script=.*\)/   \1/p'
  grep -aq 'script=tour complete' "$console" || die "the machine could not reach the container"
}

machine_is_done() { grep -aq 'STAMPEDE-GUEST script=exit' "$1"; }

console_of() { find "$state/agentd/storage" -path "*$1*" -name 'serial.log' | head -1; }

show_container_side() {
  local docker_id
  docker_id=$(docker ps --quiet --filter "label=stampede.instance=$tour_container")
  [ -n "$docker_id" ] || die "Docker does not show the container"
  step "The container talks to the machine by name"
  in_container "$docker_id" ping -c 3 vm
  in_container "$docker_id" wget -q -O - http://vm/
  step "Both read their metadata; the container's:"
  local key
  for key in instance-id local-ipv4 hostname; do
    say "$key: $(docker exec "$docker_id" wget -q -O - "http://169.254.169.254/latest/meta-data/$key")"
  done
}

in_container() {
  local docker_id=$1
  shift
  say "in web: $*"
  docker exec "$docker_id" "$@" | sed "s/^/   /"
}

tell_how_to_go_on() {
  step "The cloud is up; it stays up"
  cat <<TEXT
   curl $api/v1/instances                       what runs
   curl $api/v1/containers -d '{"imageUuid":"docker:$tour_image","command":"sleep","commandArgs":["1d"],"name":"c2"}'
   DOCKER_HOST=$DOCKER_HOST docker run --rm -it --network managed $tour_image sh      by hand: ping web
   virsh -c '$LIBVIRT_DEFAULT_URI' list          the machine as libvirt sees it
   $bin/agentd status --config $agent_config
   $bin/agentd doctor --config $agent_config
   logs: $(service_log controld), $(service_log agentd)

   make stop         stops controld and agentd; container and machine run on
   make run          starts them again
   make clean-host   removes all of it
TEXT
}
