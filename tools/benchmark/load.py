"""`larder-bench`, which sends the load: on core 1, and with what it has to say as JSON."""

import json
import shlex
import signal
import subprocess
from contextlib import contextmanager

from .servers import RELEASE, Failure
from .table import median

KEYS, VALUE_BYTES, CONNECTIONS = 100_000, 64, 50
LOAD_CORE = 1
# How long a load that was told to stop, or has a number of requests, may take.
FINISH_SECONDS_MAX = 180


def resp(server):
    return f"redis://127.0.0.1:{server.port}"


def meta(server):
    """memcached's meta commands."""
    return f"memcached://127.0.0.1:{server.port}"


def resp_load(ratio, depth):
    return ["--connections", CONNECTIONS, "--pipeline", depth, "--ratio", ratio]


def larder_bench(*words):
    return [str(word) for word in ("taskset", "-c", LOAD_CORE, RELEASE / "larder-bench", *words, "--output", "json")]


def compare(options, target, against, load, keys=KEYS, value_bytes=VALUE_BYTES, preload=True):
    """Runs `larder-bench compare`, of two pairs of URL and server; returns what it says."""
    command = larder_bench(
        "compare", "--target", target[0], "--server-pid", target[1].pid, "--against", against[0], "--against-pid", against[1].pid,
        "--rounds", options.rounds, "--duration", f"{options.seconds}s", "--warm-up", "500ms",
        "--keys", keys, "--value-size", value_bytes, *(["--preload"] if preload else []), *load,
    )  # fmt: skip
    seconds = 2 * options.rounds * (options.seconds + 15) + 60
    ran = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if ran.returncode != 0:
        raise Failure(f"{shlex.join(command)}\n{ran.stderr}")
    comparison = json.loads(ran.stdout)
    for side in (round[side] for round in comparison["rounds"] for side in ("target", "against")):
        if side["errors"] or side["misses"]:
            raise Failure(f"{side['target']}: {side['misses']} misses, errors: {side['errors']}")
    return comparison


def of_rounds(comparison, side, of):
    """The median of what the rounds say of one side."""
    return median(of(round[side]) for round in comparison["rounds"])


def cpu(report):
    """Microseconds of the server's processor time an operation."""
    return report["server_cpu"]["us_per_operation"]


def throughput(report):
    return report["operations_per_second"]


def fill(url, keys, *load):
    """Writes every key once."""
    with running(url, "--keys", keys, "--preload", "--ratio", "0:1", "--requests", 1, *load) as filling:
        filling.finish()


class Load:
    """A `larder-bench run` that is under way."""

    def __init__(self, command):
        self.command = command
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def finish(self, seconds_max=FINISH_SECONDS_MAX):
        output, errors = self.process.communicate(timeout=seconds_max)
        if self.process.returncode != 0:
            raise Failure(f"{shlex.join(self.command)}\n{errors}")
        report = json.loads(output)
        if report["errors"]:
            raise Failure(f"{report['target']}: errors: {report['errors']}")
        return report


@contextmanager
def running(url, *load):
    run = Load(larder_bench("run", "--target", url, "--connections", CONNECTIONS, *load))
    try:
        yield run
    finally:
        run.process.kill()
        run.process.wait()
