#!/usr/bin/env python3
"""Durable creates by REST: latency of one client, rate of 32, beside the disk's own fdatasync and SQLite in the same run.

The agent is simulated, so only controld works. Bars: p50 < 5 ms on a quiet disk, 500 creates/s with 32 clients.
"""
import os
import sqlite3
import threading
import time

from benchlib import WORK, cpu_seconds, emit, resident_mib, summary
from stack import Stack

SECONDS = float(os.environ.get("BENCH_SECONDS", "5"))


def fdatasync():
    path = os.path.join(WORK, "probe")
    handle = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.write(handle, b"\0" * (1 << 20))
    os.fsync(handle)
    took = []
    for i in range(200):
        at = time.perf_counter()
        os.pwrite(handle, b"x" * 4096, (i % 256) * 4096)
        os.fdatasync(handle)
        took.append(time.perf_counter() - at)
    os.close(handle)
    emit(bench="api", what="disk fdatasync of 4 KiB", **summary(took))


def sqlite():
    store = sqlite3.connect(os.path.join(WORK, "peer.db"), isolation_level=None)
    store.execute("PRAGMA journal_mode=WAL")
    store.execute("PRAGMA synchronous=FULL")
    store.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)")
    took = []
    for _ in range(200):
        at = time.perf_counter()
        store.execute("INSERT INTO t (body) VALUES (?)", ("x" * 600,))
        took.append(time.perf_counter() - at)
    emit(bench="api", what="peer: SQLite row, synchronous=FULL", **summary(took))


def creates(stack, clients):
    """Creates stopped containers until the time is up."""
    end = time.perf_counter() + SECONDS
    took, wrong = [], []

    def client():
        connection = stack.connection()
        while time.perf_counter() < end:
            at = time.perf_counter()
            status, body = stack.call("POST", "/v1/containers",
                                      {"imageUuid": "docker:bench:1", "startOnCreate": False}, connection)
            took.append(time.perf_counter() - at)
            if status != 201:
                wrong.append(body)
                return

    cpu = cpu_seconds(stack.controld.pid)
    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - start
    if wrong:
        raise RuntimeError(wrong[0])
    emit(bench="api", what="POST /v1/containers, durable", clients=clients, per_second=round(len(took) / spent),
         cpu_us_each=round(1e6 * (cpu_seconds(stack.controld.pid) - cpu) / len(took)),
         resident_mib=resident_mib(stack.controld.pid), **summary(took))


stack = Stack(docker=False)
for _ in range(2):
    fdatasync()
    sqlite()
    creates(stack, 1)
    creates(stack, 32)
