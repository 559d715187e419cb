"""What the benches share: processes that end with the run, CPU and memory of a process tree, one JSON line per result.

Standard library only. Everything a run makes carries TAG and is removed at exit, also after an interrupt.
"""
import atexit
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

CLOCK = os.sysconf("SC_CLK_TCK")
TAG = "sb%d" % (os.getpid() % 100000)
WORK = tempfile.mkdtemp(prefix=TAG + "-")
_processes = []
_at_end = []


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def sh(command, check=True, **options):
    """Runs a command to its end; its output comes back, a failure raises with it."""
    done = subprocess.run(command, shell=isinstance(command, str), text=True, capture_output=True, **options)
    if check and done.returncode:
        raise RuntimeError("%r -> %d\n%s\n%s" % (command, done.returncode, done.stdout[-2000:], done.stderr[-2000:]))
    return done


def spawn(command, name):
    """Starts a server whose output goes to a file in WORK."""
    path = os.path.join(WORK, name + ".log")
    process = subprocess.Popen(command, stdout=open(path, "ab"), stderr=subprocess.STDOUT,
                               stdin=subprocess.DEVNULL, start_new_session=True)
    process.logfile = path
    _processes.append(process)
    return process


def stop(process, seconds=15):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def finally_do(action):
    """Runs `action` at the end, last first, before the processes are stopped."""
    _at_end.append(action)


def wait_for(condition, seconds=30, process=None, what="condition"):
    """Polls until `condition()` is true; says what the server wrote when it never is."""
    end = time.monotonic() + seconds
    error = None
    while time.monotonic() < end:
        if process is not None and process.poll() is not None:
            break
        try:
            if condition():
                return
        except Exception as caught:  # the server may not listen yet
            error = caught
        time.sleep(0.02)
    tail = open(process.logfile, errors="replace").read()[-3000:] if process else ""
    raise RuntimeError("%s: not within %s s (%s)\n%s" % (what, seconds, error, tail))


def tree(pid):
    """A process and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open("/proc/%s/stat" % entry).read()
                children.setdefault(int(stat[stat.rindex(")") + 2:].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        todo += children.get(at, [])
    return found


def cpu_seconds(pid, with_ended_children=True):
    """User and system seconds of a process, its threads and the children it waited for."""
    stat = open("/proc/%d/stat" % pid).read()
    fields = [int(x) for x in stat[stat.rindex(")") + 2:].split()[11:15]]
    return sum(fields if with_ended_children else fields[:2]) / CLOCK


def resident_mib(pid):
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))]


def summary(seconds):
    """Milliseconds: least, median, 95th percentile."""
    return {"min_ms": round(1e3 * min(seconds), 2), "p50_ms": round(1e3 * statistics.median(seconds), 2),
            "p95_ms": round(1e3 * percentile(seconds, 95), 2)}


def emit(**fields):
    fields["load"] = round(os.getloadavg()[0], 1)
    print(json.dumps(fields), flush=True)


def _cleanup():
    for action in reversed(_at_end):
        try:
            action()
        except Exception as error:
            log("clean-up:", error)
    for process in reversed(_processes):
        stop(process)
    if not os.environ.get("BENCH_KEEP"):
        shutil.rmtree(WORK, ignore_errors=True)


atexit.register(_cleanup)
for _signal in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(_signal, lambda *_: sys.exit(130))
