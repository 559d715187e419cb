#!/usr/bin/env python3
"""Attach of a container's network by Docker's driver protocol (CreateEndpoint + Join), with 0 and 200 others attached.

Bars: at most 20 ms wall at the median, 10 ms of CPU, growth of at most 20 %. Peer in the same run: netavark's set-up of
one container (Debian package), which pays a process start each time; that difference is part of what is compared.
"""
import json
import os
import shutil
import time
import uuid

from benchlib import TAG, WORK, cpu_seconds, emit, finally_do, log, sh, summary, wait_for
from stack import Stack

RUNS = 30


def post(connection, path, body):
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    read = json.loads(answer.read() or b"{}")
    if answer.status != 200 or read.get("Err"):
        raise RuntimeError("%s: %s %s" % (path, answer.status, read))
    return read


class Attached:
    """One endpoint as Docker would ask for it."""

    def __init__(self, connection, network, nic):
        self.connection, self.network, self.endpoint = connection, network, uuid.uuid4().hex * 2
        at = time.perf_counter()
        post(connection, "/NetworkDriver.CreateEndpoint", {
            "NetworkID": network, "EndpointID": self.endpoint, "Options": {},
            "Interface": {"Address": nic["address"] + "/16", "AddressIPv6": "", "MacAddress": ""}})
        post(connection, "/NetworkDriver.Join", {"NetworkID": network, "EndpointID": self.endpoint,
                                                 "SandboxKey": "/var/run/docker/netns/" + TAG, "Options": {}})
        self.took = time.perf_counter() - at

    def remove(self):
        for verb in ("Leave", "DeleteEndpoint"):
            post(self.connection, "/NetworkDriver." + verb, {"NetworkID": self.network, "EndpointID": self.endpoint})


def addresses(stack, count):
    """Addresses that controld gave to this host: stopped containers have theirs, and nothing is attached to them."""
    for _ in range(count):
        stack.create("containers", imageUuid="docker:bench:1", startOnCreate=False)
    wait_for(lambda: all(c["state"] == "stopped" for c in stack.list("containers")), 120, stack.agentd, "containers made")
    return [{"address": c["primaryIpAddress"]} for c in stack.list("containers")]


def measure(stack, connection, network, nic, others):
    took, cpu = [], cpu_seconds(stack.agentd.pid)
    for _ in range(RUNS):
        attached = Attached(connection, network, nic)
        took.append(attached.took)
        attached.remove()
    cpu = cpu_seconds(stack.agentd.pid) - cpu
    emit(bench="attach", what="CreateEndpoint + Join", others=others, cpu_ms=round(1e3 * cpu / RUNS, 2),
         cpu_is="attach and detach", **summary(took))


def netavark(others):
    program = shutil.which("netavark") or "/usr/lib/podman/netavark"
    if not os.path.exists(program):
        log("netavark is not installed: apt-get install netavark")
        return
    host, guest = "%s-nv%d" % (TAG, others), "%s-nvc%d" % (TAG, others)
    for name in (host, guest):
        sh(["ip", "netns", "add", name])
        finally_do(lambda name=name: sh(["ip", "netns", "del", name], check=False))
    options = os.path.join(WORK, "netavark.json")
    with open(options, "w") as f:
        json.dump({"container_id": "c" * 64, "container_name": "c", "networks": {"bench": {"interface_name": "eth0", "static_ips": ["10.88.0.9"]}},
                   "network_info": {"bench": {"name": "bench", "id": "b" * 64, "driver": "bridge", "network_interface": "nv0",
                                              "subnets": [{"subnet": "10.88.0.0/16", "gateway": "10.88.0.1"}], "ipv6_enabled": False,
                                              "internal": False, "dns_enabled": False, "ipam_options": {"driver": "host-local"}}}}, f)
    base = ["nsenter", "--net=/run/netns/" + host, program, "--config", os.path.join(WORK, "netavark")]
    took = []
    for _ in range(RUNS):
        at = time.perf_counter()
        sh(base + ["setup", "/run/netns/" + guest], input=open(options).read())
        took.append(time.perf_counter() - at)
        sh(base + ["teardown", "/run/netns/" + guest], input=open(options).read())
    emit(bench="attach", what="peer: netavark setup", others=others, **summary(took))


stack = Stack()
connection = stack.plugin()
network = json.loads(stack.docker("network", "inspect", "managed", check=True).stdout)[0]["Id"]
nics = addresses(stack, 201)
measure(stack, connection, network, nics[0], 0)
netavark(0)
held = [Attached(connection, network, nic) for nic in nics[1:201]]
measure(stack, connection, network, nics[0], 200)
netavark(200)
for attached in held:
    attached.remove()
