#!/usr/bin/env python3
"""`docker run --rm … true` on our network, on none and on Docker's own bridge, in turns.

Bar: ours at most 100 ms above none at the median.
"""
import statistics
import time

from benchlib import emit, summary
from stack import Stack

ROUNDS = 12
stack = Stack()
took = {"none": [], "managed": [], "bridge": []}
for network in took:
    stack.docker("run", "--rm", "--network", network, "bench:1", "/bin/true", check=True)
for _ in range(ROUNDS):
    for network, times in took.items():
        at = time.perf_counter()
        stack.docker("run", "--rm", "--network", network, "bench:1", "/bin/true", check=True)
        times.append(time.perf_counter() - at)
base = statistics.median(took["none"])
for network, times in took.items():
    emit(bench="docker run", network=network, above_none_ms=round(1e3 * (statistics.median(times) - base), 1), **summary(times))
