"""Bytes of memory, at rest and while a replica takes a copy."""

import time

from .load import VALUE_BYTES, fill, meta, resp, running
from .servers import Pair, info, servers
from .speed import KEY_BYTES
from .table import header, row, yes

DAY = "24h"
# Bytes a key, and how much more a deadline may cost.
RESIDENT_BYTES_MAX, DEADLINE_BYTES_MAX = 100, 8
# Memory is what it is once it has not changed for so long; it is looked at so often at most.
SETTLED_SECONDS, LOOKS_MAX = 1.0, 20
# A full copy: enough keys for it to take some seconds, and a load that leaves the cores half idle.
COPY_KEYS, COPY_VALUE_BYTES, COPY_RATE, COPY_SECONDS_MAX = 2_000_000, 200, 10_000, 120


def measure_memory(options):
    print(f"\nMemory, bytes a key: {options.keys:,} keys of {KEY_BYTES} bytes with values of {VALUE_BYTES}\n")
    deadline = ("with a deadline: resident", "accounted", "more", "at most", "met")
    header("server", "resident", "accounted", "at most", "met", *deadline)
    for name, url in (("node", resp), ("redis", resp), ("memcached", meta)):
        without, with_deadline = (bytes_a_key(name, url, options.keys, ttl) for ttl in ([], ["--ttl", DAY]))
        more = max(0.0, with_deadline[0] - without[0])
        is_ours = name == "node"
        cells = [{"node": "larder-node", "redis": "redis-server"}.get(name, name), *bytes_cells(without)]
        cells += aim(is_ours, without[0], RESIDENT_BYTES_MAX)
        cells += [*bytes_cells(with_deadline), f"{more:.1f}", *aim(is_ours, more, DEADLINE_BYTES_MAX)]
        row(cells)


def bytes_a_key(name, url, keys, ttl):
    """How much more memory the process has, and how much more it says it uses, than when it was empty."""
    with servers() as start:
        server = getattr(start, name)(0)
        before = settled(server), accounted(name, server)
        fill(url(server), keys, "--key-size", KEY_BYTES, "--value-size", VALUE_BYTES, *ttl)
        after = settled(server), accounted(name, server)
    return [None if now is None else (now - then) / keys for now, then in zip(after, before)]


def settled(server):
    """Resident bytes, when what the load had of them has been given back."""
    resident = server.resident_bytes()
    for _ in range(LOOKS_MAX):
        time.sleep(SETTLED_SECONDS)
        last, resident = resident, server.resident_bytes()
        if resident == last:
            break
    return resident


def accounted(name, server):
    """What a server says it uses, where it knows more than what it asked its allocator for."""
    return int(info(server.port, "memory")["used_memory"]) if name == "node" else None


def bytes_cells(numbers):
    return ["-" if number is None else f"{number:.1f}" for number in numbers]


def aim(is_ours, number, most):
    return [str(most), yes(number <= most)] if is_ours else ["-", "-"]


def measure_copy(options):
    print(f"\nA primary with {COPY_KEYS:,} keys of {COPY_VALUE_BYTES} bytes, {COPY_RATE:,} GETs and SETs a second\n")
    header("meanwhile", "seconds", "p50 us", "p99 us", "p99.9 us", "longest us", "primary's memory, MB", "its peak, MB")
    alone = ["--duration", f"{options.rounds * options.seconds}s"]
    with servers() as start:
        etcd = start.etcd(1)
        primary = start.member(0, etcd, "copy", "primary", "--memory", "2gb")
        with copy_load(primary, "--preload", *alone) as load:
            copy_row("nothing else", primary, load.finish())
        # The load goes on for as long as the copy takes.
        with copy_load(primary, "--duration", "600s") as load:
            replica = start.member(1, etcd, "copy", "replica", "--memory", "2gb")
            Pair([primary, replica]).wait(COPY_SECONDS_MAX)
            load.interrupt()
            copy_row("a new replica is copied to", primary, load.finish())
        with copy_load(primary, *alone) as load:
            copy_row("writes wait for the replica", primary, load.finish())


def copy_load(server, *options):
    load = ["--keys", COPY_KEYS, "--value-size", COPY_VALUE_BYTES, "--ratio", "1:1", "--rate", COPY_RATE]
    return running(resp(server), *load, *options)


def copy_row(name, primary, report):
    latency, memory = report["all"], (primary.resident_bytes(), primary.resident_bytes_max())
    cells = [f"{report['seconds']:.1f}"] + [f"{latency[at]:.0f}" for at in ("p50_us", "p99_us", "p99_9_us", "max_us")]
    row([name, *cells, *(f"{size / 1e6:.0f}" for size in memory)])
