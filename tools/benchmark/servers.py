"""The servers that are measured: each on a core and a free port of its own, and stopped at the end."""

import getpass
import os
import re
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RELEASE = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
READY_SECONDS, STOP_SECONDS = 20, 5
# From the ports of `larder-node dev`: the proxy's, then the node's, whose gRPC port is so much above.
GRPC_OFFSET = 10_000


class Failure(Exception):
    """What ends the run, in words for whoever started it."""


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(offsets):
    """The first of a port and those at these offsets from it, all free, below the ports that connections get."""
    taken = free_ports.next
    for port in range(taken, 22_000, 20):
        if all(is_free(port + offset) for offset in offsets):
            free_ports.next = port + 20
            return port
    raise Failure(f"no free ports between {taken} and 22000")


free_ports.next = 17_000


class Server:
    """A process on a core of its own, and where it listens."""

    def __init__(self, name, core, command, directory, port, grpc=None):
        self.name, self.port, self.grpc = name, port, grpc
        self.log = directory / f"{name}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(core), *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=directory,
            )

    @property
    def pid(self):
        return self.process.pid

    def resident_bytes(self):
        """What the process has of the machine's memory."""
        return 1024 * self.kilobytes("smaps_rollup", "Rss")

    def resident_bytes_max(self):
        return 1024 * self.kilobytes("status", "VmHWM")

    def kilobytes(self, file, field):
        text = Path(f"/proc/{self.pid}/{file}").read_text()
        return int(re.search(rf"^{field}:\s*(\d+) kB$", text, re.MULTILINE)[1])

    def wait(self, is_ready):
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready(self):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def accepts(server):
    return listens(server.port)


def says_ready(server):
    return b"ready" in server.log.read_bytes().split(b"\n")


class Pair:
    """Two nodes of one shard, and which of them is primary."""

    def __init__(self, nodes):
        self.nodes = nodes

    @property
    def pid(self):
        """Both, as `larder-bench` takes them."""
        return ",".join(str(node.pid) for node in self.nodes)

    @property
    def port(self):
        """The primary's, once it has the other one in its in-sync set."""
        return self.wait(READY_SECONDS)

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for node in self.nodes:
                told = info(node.port, "replication")
                if told.get("role") == "master" and told.get("larder_in_sync") == "2":
                    return node.port
            time.sleep(0.05)
        raise Failure("the shard's nodes are not in sync")


def info(port, section):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(f"INFO {section}\r\n".encode())
        text = connection.recv(65536).decode()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


class Servers:
    """Starts servers, and stops all of them at the end of the block."""

    def __init__(self, directory, stack):
        self.directory, self.stack = directory, stack

    def start(self, is_ready, *arguments, **options):
        server = Server(*arguments, **options)
        self.stack.callback(server.stop)
        return server.wait(is_ready)

    def redis(self, core):
        port = free_ports([0])
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        return self.start(accepts, "redis-server", core, command, self.directory, port)

    def memcached(self, core):
        port = free_ports([0])
        # It asks for a user's name when root starts it.
        command = ["memcached", "-u", getpass.getuser(), "-l", "127.0.0.1", "-p", port, "-t", 1, "-m", 2048]
        # With the default of 20 it turns to another connection in the midst of a long pipeline.
        command += ["-R", 1000]
        return self.start(accepts, "memcached", core, command, self.directory, port)

    def node(self, core):
        port = free_ports([0, 1, 1 + GRPC_OFFSET])
        command = [RELEASE / "larder-node", "dev", "--shards", 1, "--replicas", 0, "--port", port]
        command += ["--threads", 1, "--memory", "4gb"]
        grpc = port + 1 + GRPC_OFFSET
        return self.start(says_ready, "larder-node", core, command, self.directory, port + 1, grpc=grpc)

    def etcd(self, core):
        port = free_ports([0, 1])
        client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"
        command = ["etcd", "--name", "bench", "--data-dir", self.directory / "etcd", "--log-level", "warn"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"bench={peer}"]
        self.start(accepts, "etcd", core, command, self.directory, port)
        return client

    def member(self, core, etcd, cluster, name, *flags):
        """A node of a cluster of one shard."""
        port = free_ports([0, 1, 2])
        command = [RELEASE / "larder-node", "serve", "--name", name, "--cluster", cluster, "--etcd", etcd]
        command += ["--shard", "s", "--port", port, "--grpc-port", port + 1, "--peer-port", port + 2]
        command += ["--admin-port", 0, "--threads", 1, *flags]
        return self.start(says_ready, f"{cluster}-{name}", core, command, self.directory, port, grpc=port + 1)

    def pair(self, core, etcd, ack):
        flags = ["--memory", "1gb", "--ack", ack]
        return Pair([self.member(core, etcd, f"ack-{ack}", name, *flags) for name in ("a", "b")])

    def larder_proxy(self, core, node):
        port = free_ports([0])
        command = [RELEASE / "larder-proxy", "--seeds", f"127.0.0.1:{node.grpc}", "--port", port, "--threads", 1]
        return self.start(says_ready, "larder-proxy", core, command, self.directory, port)

    def nutcracker(self, core, redis):
        port = free_ports([0, 1])
        configuration = self.directory / "nutcracker.yml"
        configuration.write_text(
            f"bench:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  distribution: ketama\n"
            f"  preconnect: true\n  auto_eject_hosts: false\n  servers:\n   - 127.0.0.1:{redis.port}:1\n"
        )
        command = ["nutcracker", "-c", configuration, "-p", self.directory / "nutcracker.pid"]
        # Its smallest buffers are its fastest here: with the default of 16 KB a GET takes up to three times the CPU time.
        command += ["-s", port + 1, "-a", "127.0.0.1", "-m", 512]
        return self.start(accepts, "nutcracker", core, command, self.directory, port)


@contextmanager
def servers():
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="larder-bench-"))
        yield Servers(Path(directory), stack)
