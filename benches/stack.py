"""One cloud of one host inside a network namespace: dockerd, controld and agentd, all private, all ended with the run."""
import http.client
import json
import os
import socket
import subprocess

from benchlib import TAG, WORK, finally_do, sh, spawn, wait_for

BIN = os.environ.get("BENCH_BIN", os.path.join(os.path.dirname(__file__), "..", "target", "release"))
PORT = 9080


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Stack:
    """`docker=False` gives a controld and a simulated agent, for what does not touch the host."""

    def __init__(self, docker=True, agent=True):
        self.ns = TAG
        sh(["ip", "netns", "add", self.ns])
        finally_do(lambda: sh(["ip", "netns", "del", self.ns], check=False))
        for line in ("link set lo up", "link add uplink type bridge", "addr add 192.0.2.10/24 dev uplink",
                     "link set uplink up", "route add default via 192.0.2.1"):
            sh(["ip", "-n", self.ns] + line.split())
        self.docker_socket = os.path.join(WORK, "docker.sock")
        self.plugins = os.path.join(WORK, "plugins")
        os.makedirs(self.plugins, exist_ok=True)
        if docker:
            self._dockerd()
        self._controld()
        if agent:
            self._agentd(simulate=not docker)

    def inside(self, command):
        """The command as it runs in the host's namespace, with its own /run/docker/plugins."""
        script = "mkdir -p /run/docker/plugins; mount --bind %s /run/docker/plugins; exec \"$@\"" % self.plugins
        return ["nsenter", "--net=/run/netns/" + self.ns, "unshare", "--mount", "--propagation", "private",
                "sh", "-c", script, "sh"] + command

    def _dockerd(self):
        d = os.path.join(WORK, "docker")
        self.dockerd = spawn(self.inside([
            "dockerd", "-H", "unix://" + self.docker_socket, "--data-root", d + "/data", "--exec-root", d + "/exec",
            "--pidfile", d + ".pid", "--cgroup-parent", TAG]), "dockerd")
        wait_for(lambda: self.docker("version").returncode == 0, 60, self.dockerd, "dockerd")
        root = os.path.join(WORK, "rootfs/bin")
        os.makedirs(root)
        sh(["cp", "/bin/busybox", root])
        for applet in ("sh", "true", "sleep"):
            os.symlink("busybox", os.path.join(root, applet))
        sh("tar -C %s/rootfs -c . | docker -H unix://%s import -c 'CMD [\"/bin/sleep\", \"86400\"]' - bench:1"
           % (WORK, self.docker_socket))
        finally_do(lambda: sh("docker -H unix://%s ps -aq | xargs -r docker -H unix://%s rm -f"
                              % (self.docker_socket, self.docker_socket), check=False))

    def docker(self, *words, check=False):
        return sh(["docker", "-H", "unix://" + self.docker_socket, *words], check=check)

    def _controld(self):
        data = os.path.join(WORK, "controld")
        os.makedirs(data, exist_ok=True)
        config = os.path.join(WORK, "controld.toml")
        with open(config, "w") as f:
            f.write('overlay = "vxlan"\n')
        self.controld = spawn(["nsenter", "--net=/run/netns/" + self.ns, BIN + "/controld", "serve", "--config", config,
                               "--data", data, "--listen", "127.0.0.1:%d" % PORT, "--agent-listen", "127.0.0.1:9443", "--open"],
                              "controld")
        wait_for(lambda: self.call("GET", "/ping")[0] == 200, 30, self.controld, "controld")
        self.data = data

    def _agentd(self, simulate):
        words = sh([BIN + "/controld", "token", "create", "--data", self.data]).stdout.split()
        token = os.path.join(WORK, "token")
        with open(token, "w") as f:
            f.write(words[-1])
        config = os.path.join(WORK, "agentd.toml")
        with open(config, "w") as f:
            f.write('docker = "%s"\ndocker_plugins = "%s"\nlibvirt = "none"\nadvertise = "192.0.2.10"\n' % (self.docker_socket, self.plugins))
        command = [BIN + "/agentd", "run", "--config", config, "--data", os.path.join(WORK, "agentd"), "--run-dir",
                   os.path.join(WORK, "run"), "--controld", "https://127.0.0.1:9443", "--token-file", token]
        if simulate:
            command.append("--simulate")
        self.agentd = spawn(["nsenter", "--net=/run/netns/" + self.ns] + command, "agentd")
        finally_do(lambda: sh(["nsenter", "--net=/run/netns/" + self.ns, BIN + "/agentd", "clean-host", "--config", config,
                               "--data", os.path.join(WORK, "agentd"), "--run-dir", os.path.join(WORK, "run")], check=False))
        finally_do(lambda: self.agentd.terminate() or self.agentd.wait(15))
        wait_for(lambda: any(h["state"] == "active" for h in self.list("hosts")), 60, self.agentd, "host active")
        if not simulate:
            wait_for(lambda: self.docker("network", "inspect", "managed").returncode == 0, 30, self.agentd, "network managed")

    def connection(self):
        """A connection to controld. Sockets keep the namespace they were made in, so it is made inside."""
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        connection.sock = self._socket()
        return connection

    def _socket(self):
        ours, theirs = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/run/netns/" + self.ns, os.O_RDONLY)
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            if libc.setns(theirs, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            made = socket.socket()
            if libc.setns(ours, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns back")
        finally:
            os.close(ours)
            os.close(theirs)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(("127.0.0.1", PORT))
        return made

    def call(self, method, path, body=None, connection=None):
        connection = connection or self.connection()
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        data = answer.read()
        try:
            return answer.status, json.loads(data)
        except ValueError:
            return answer.status, data

    def list(self, plural):
        return self.call("GET", "/v1/%s?limit=1000" % plural)[1]["data"]

    def create(self, plural, **fields):
        status, body = self.call("POST", "/v1/" + plural, fields)
        if status != 201:
            raise RuntimeError("POST %s: %s %s" % (plural, status, body))
        return body

    def plugin(self):
        return UnixConnection(os.path.join(self.plugins, "stampede.sock"))
