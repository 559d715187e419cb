#!/usr/bin/env python3
"""agentd itself: its rest with 100 running containers, and a snapshot that adds 200 endpoints at once.

Bars: 200 endpoints applied within 1.5 s; below 60 MB resident and 1 % of a core when idle.
"""
import glob
import json
import os
import time

from benchlib import WORK, cpu_seconds, emit, resident_mib, sh, wait_for
from stack import Stack

# Seconds; every loop that looks without a reason does so once a minute.
IDLE = 65


def guards(stack):
    """How many endpoints have their guard in the kernel, asked of the kernel."""
    total = 0
    for namespace in glob.glob(stack.run + "/netns/*"):
        listed = sh(["nsenter", "--net=" + namespace, "nft", "-j", "list", "set", "bridge", "stampede", "macs"], check=False)
        objects = json.loads(listed.stdout or "{}").get("nftables", [])
        total += sum(len(it["set"].get("elem", [])) for it in objects if "set" in it)
    return total


stack = Stack()
stack.run = os.path.join(WORK, "run")
before = guards(stack)
created = stack.call("POST", "/v1/containers", {"imageUuid": "docker:bench:1", "count": 100})
if created[0] != 201:
    raise RuntimeError(created)
wait_for(lambda: guards(stack) >= before + 100, 60, stack.agentd, "100 endpoints in the kernel")
wait_for(lambda: all(c["state"] == "running" for c in stack.list("containers")), 240, stack.agentd, "100 containers running")
spent = cpu_seconds(stack.agentd.pid)
time.sleep(IDLE)
emit(bench="agentd", what="idle with 100 running containers", resident_mib=resident_mib(stack.agentd.pid),
     core_percent=round(100 * (cpu_seconds(stack.agentd.pid) - spent) / IDLE, 2))

before = guards(stack)
at = time.perf_counter()
created = stack.call("POST", "/v1/containers", {"imageUuid": "docker:bench:1", "startOnCreate": False, "count": 200})
posted = time.perf_counter() - at
if created[0] != 201:
    raise RuntimeError(created)
wait_for(lambda: guards(stack) >= before + 200, 60, stack.agentd, "200 endpoints in the kernel")
emit(bench="agentd", what="200 endpoints at once: POST to all guards in the kernel", seconds=round(time.perf_counter() - at, 2),
     post_seconds=round(posted, 2))
