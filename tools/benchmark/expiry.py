"""What keys that expire cost those who read others, and how long after its deadline a key's memory is free.

A node says how many keys it holds, those past their deadline and not yet dropped included (DBSIZE). It is asked every
20 ms, and compared with the deadlines, which are known. A key that is gone cannot be told from another; so of the keys
that are due, the one whose deadline is the latest is taken for the one that went. That makes the longest lags longer
than they are, never shorter. It is exact if no key is left when the next ones come due; therefore the lag is measured
with deadlines in waves: all keys of a wave at one instant, and a second until the next. No key that expires is ever
asked for, so nothing but the node's own sweep can drop it.
"""

import os
import socket
import threading
import time
from array import array

from .load import KEYS, LOAD_CORE, VALUE_BYTES, fill, resp, running
from .servers import Failure, info, servers
from .table import header, median, ratio_of, row, spread, yes

# GETs a second: an open loop that leaves the server's core half idle.
RATE = 10_000
# From the last key's writing to the first deadline.
LEAD_SECONDS, WRITTEN_A_SECOND = 2, 100_000
WAVE_MS = 1000
LOOK_SECONDS = 0.02
BATCH = 1000
# Each takes three times as long as the keys take to expire.
ROUNDS_MAX = 3
GONE_SECONDS_MAX = 10
LATENCY_RATIO_MAX, LAG_SECONDS_MAX = 1.2, 1.0
PLAIN, SPREAD, WAVES = "never", "evenly", "in waves"


def measure_expiry(options):
    keys, seconds = options.expiring_keys, options.expiring_seconds
    print(f"\n{keys:,} keys expire over {seconds} s, while {KEYS:,} others are asked for, {RATE:,} GETs a second\n")
    lag = ("lag p50 ms", "p99.9 ms", "longest ms", "memory kept, MB")
    header("they expire", "GET p50 us", "p99 us", "p99.9 us", "ratio (min..max)", *lag)
    runs = {PLAIN: [], SPREAD: [], WAVES: []}
    with servers() as start:
        node = start.node(0)
        for index in range(min(options.rounds, ROUNDS_MAX)):
            # The one that goes first in a round goes last in the next.
            for name in list(runs) if index % 2 == 0 else reversed(runs):
                runs[name].append(Run(node, name, keys, seconds))
    ratios, lags = {}, {}
    for name, rounds in runs.items():
        ratios[name] = ratio_of([run.latency["p99_9_us"] / plain.latency["p99_9_us"] for run, plain in zip(rounds, runs[PLAIN])])
        lags[name] = expiry_row(name, rounds, ratios[name])
    is_met = ratios[SPREAD]["median"] <= LATENCY_RATIO_MAX
    print(f"\nGET p99.9 while keys expire evenly, ratio: {spread(ratios[SPREAD])}; at most {LATENCY_RATIO_MAX}: {yes(is_met)}")
    is_met = lags[WAVES] < LAG_SECONDS_MAX
    print(f"Lag of 99.9 % of the keys in waves: {1000 * lags[WAVES]:.0f} ms; below {1000 * LAG_SECONDS_MAX:.0f}: {yes(is_met)}")


def expiry_row(name, rounds, ratio):
    """Prints what the rounds came to; returns the lag of 99.9 %."""
    cells = [f"{median(run.latency[at] for run in rounds):.0f}" for at in ("p50_us", "p99_us", "p99_9_us")]
    cells += ["-" if name == PLAIN else spread(ratio)]
    lags = sorted(lag for run in rounds for lag in run.lags)
    at = [lags[int((len(lags) - 1) * part)] for part in (0.5, 0.999, 1)] if lags else []
    # Among deadlines that follow each other closely nobody knows which key is gone: see above.
    cells += [f"{1000 * lag:.0f}" for lag in at] if name == WAVES else ["-"] * 3
    left = "-" if name == PLAIN else f"{max(run.left_bytes for run in rounds) / 1e6:.1f}"
    row([name, *cells, left])
    return at[1] if at else 0.0


class Run:
    """Writes the keys, waits until they are gone, and reads others meanwhile."""

    def __init__(self, node, name, keys, seconds):
        self.node = node
        connection = Connection(node.port)
        connection.ask("FLUSHALL")
        fill(resp(node), KEYS)
        before = settled(node)
        writing = time.time()
        # Python writes a million keys in some seconds; the deadlines begin when it surely has.
        start = int(writing + LEAD_SECONDS + keys / WRITTEN_A_SECOND)
        deadlines = deadlines_of(name, keys, seconds, start)
        write(connection, keys, deadlines)
        if time.time() > start:
            raise Failure(f"writing {keys} keys took {time.time() - writing:.1f} s: the first were due by then")
        time.sleep(start - time.time())
        watch = Watch(connection, KEYS, deadlines)
        load = ["--keys", KEYS, "--value-size", VALUE_BYTES, "--ratio", "1:0", "--rate", RATE, "--duration", f"{seconds}s"]
        with running(resp(node), *load) as gets:
            report = gets.finish(seconds + 60)
        self.latency, self.lags = report["all"], watch.finish()
        self.left_bytes = used(node) - before


def deadlines_of(name, keys, seconds, start):
    """When each key is due, in milliseconds since the epoch and in order; empty if never."""
    if name == PLAIN:
        return []
    if name == SPREAD:
        return [1000 * start + 1000 * seconds * index // keys for index in range(keys)]
    waves = max(1, 1000 * seconds // WAVE_MS)
    return [1000 * start + WAVE_MS * (index * waves // keys) for index in range(keys)]


def write(connection, keys, deadlines):
    """Writes keys that no load asks for: those of `larder-bench` have another length."""
    value = "v" * VALUE_BYTES
    for first in range(0, keys, BATCH):
        batch = range(first, min(first + BATCH, keys))
        if deadlines:
            commands = [f"SET e{index:010} {value} PXAT {deadlines[index]}\r\n" for index in batch]
        else:
            commands = [f"SET e{index:010} {value}\r\n" for index in batch]
        connection.send("".join(commands))
        for _ in batch:
            connection.expect("+OK")


class Watch:
    """Counts the server's keys every so often, in a thread, and works out how long each was there past its deadline."""

    def __init__(self, connection, others, deadlines):
        self.connection, self.others, self.deadlines = connection, others, deadlines
        self.lags, self.failure, self.is_over = array("d"), None, threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def finish(self):
        """The lags in seconds, once every key is gone or should be."""
        latest = self.deadlines[-1] / 1000 + GONE_SECONDS_MAX if self.deadlines else 0.0
        while time.time() < latest and len(self.lags) < len(self.deadlines) and self.thread.is_alive():
            time.sleep(LOOK_SECONDS)
        self.is_over.set()
        self.thread.join()
        if self.failure:
            raise self.failure
        if len(self.lags) < len(self.deadlines):
            raise Failure(f"{len(self.deadlines) - len(self.lags)} keys are there {GONE_SECONDS_MAX} s after the last deadline")
        return self.lags

    def look(self):
        # This thread alone.
        os.sched_setaffinity(0, {LOAD_CORE})
        try:
            self.count()
        except (OSError, Failure) as failure:
            self.failure = failure

    def count(self):
        due, passed = [], 0
        while not self.is_over.wait(LOOK_SECONDS):
            there = self.connection.ask("DBSIZE") - self.others
            now = time.time()
            while passed < len(self.deadlines) and self.deadlines[passed] / 1000 <= now:
                due.append(self.deadlines[passed] / 1000)
                passed += 1
            gone = len(self.deadlines) - there - len(self.lags)
            if gone > len(due):
                raise Failure(f"{gone - len(due)} keys went before their deadlines")
            self.lags.extend(now - due.pop() for _ in range(gone))


class Connection:
    """One that speaks as much RESP as is needed here."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.replies = self.socket.makefile("rb")

    def send(self, commands):
        self.socket.sendall(commands.encode())

    def expect(self, reply):
        line = self.replies.readline().decode().rstrip()
        if not line.startswith(reply):
            raise Failure(f"the server answered '{line}' where '{reply}' was expected")
        return line

    def ask(self, command):
        """The answer to a command that answers with a number or with OK."""
        self.send(command + "\r\n")
        line = self.expect("")
        if line[:1] not in (":", "+"):
            raise Failure(f"{command}: {line}")
        return int(line[1:]) if line.startswith(":") else line


def settled(node):
    """What the server uses, when what was flushed is free."""
    now = used(node)
    while True:
        time.sleep(0.2)
        last, now = now, used(node)
        if now == last:
            return now


def used(node):
    return int(info(node.port, "memory")["used_memory"])
