"""Processor time of the servers, and how many operations a second clients get."""

from .load import KEYS, compare, cpu, fill, meta, of_rounds, resp, resp_load, throughput
from .servers import servers
from .table import header, inverse, row, spread, yes

DEPTHS = (1, 16, 64)
COMMANDS = (("GET", "1:0"), ("SET", "0:1"))
TASKS = 64
KEY_BYTES = 11
# Long values: so many bytes of them at most, on few connections, which wait for each answer.
KIB, MIB = 1 << 10, 1 << 20
LARGE_VALUES = ((KIB, "1 KiB"), (64 * KIB, "64 KiB"), (MIB, "1 MiB"), (16 * MIB, "16 MiB"), (64 * MIB, "64 MiB"))
LARGE_BYTES_MAX, LARGE_KEYS_MAX, LARGE_CONNECTIONS = 256 * MIB, 1000, 4


def measure_node(options):
    print("\nServer CPU, microseconds an operation, one shard without a proxy (memcached with -R 1000)\n")
    ratios = ("to Redis (min..max)", "at most", "met", "to memcached (min..max)")
    header("command", "keys", "depth", "larder-node", "redis-server", "memcached", *ratios)
    for keys in (KEYS, options.keys):
        with servers() as start:
            node, redis, memcached = start.node(0), start.redis(0), start.memcached(0)
            larder, sides = (resp(node), node), ((resp(redis), redis), (meta(memcached), memcached))
            for url, _ in (larder, *sides):
                fill(url, keys, "--key-size", KEY_BYTES)
            for command, ratio in COMMANDS:
                for depth, limit in zip(DEPTHS, (0.95, 0.68, 0.5)):
                    load = [*resp_load(ratio, depth), "--key-size", KEY_BYTES]
                    node_row([command, f"{keys:,}", str(depth)], limit, [
                        compare(options, larder, side, load, keys=keys, preload=False) for side in sides
                    ])  # fmt: skip


def node_row(cells, limit, comparisons):
    to_redis, to_memcached = (comparison["server_cpu"] for comparison in comparisons)
    cells.append(f"{of_rounds(comparisons[0], 'target', cpu):.2f}")
    cells += [f"{of_rounds(comparison, 'against', cpu):.2f}" for comparison in comparisons]
    row([*cells, spread(to_redis), f"{limit:.2f}", yes(to_redis["median"] <= limit), spread(to_memcached)])


def measure_large(options):
    print("\nLong values, megabytes a second of the server's processor time\n")
    header("command", "value", "larder-node", "redis-server", "ratio (min..max)", "at least", "met")
    for value_bytes, size in LARGE_VALUES:
        keys = min(LARGE_BYTES_MAX // value_bytes, LARGE_KEYS_MAX)
        with servers() as start:
            node, redis = start.node(0), start.redis(0)
            for command, ratio in COMMANDS:
                load = ["--connections", LARGE_CONNECTIONS, "--pipeline", 1, "--ratio", ratio]
                sides = ((resp(node), node), (resp(redis), redis))
                comparison = compare(options, *sides, load, keys=keys, value_bytes=value_bytes)
                large_row([command, size], value_bytes, comparison)


def large_row(cells, value_bytes, comparison):
    # A byte a microsecond is a megabyte a second.
    cells += [f"{value_bytes / of_rounds(comparison, side, cpu):.0f}" for side in ("target", "against")]
    ratio = inverse(comparison["server_cpu"])
    # Shorter ones are what the table `node` is about.
    aim = ["0.90", yes(ratio["median"] >= 0.9)] if value_bytes >= 64 * KIB else ["-", "-"]
    row([*cells, spread(ratio), *aim])


def cpu_row(name, depth, comparison, limit):
    """A row of CPU times in microseconds and throughputs in thousands a second."""
    ratio = comparison["server_cpu"]
    cells = [name, str(depth)]
    cells += [f"{of_rounds(comparison, side, cpu):.2f}" for side in ("target", "against")]
    cells += [spread(ratio), "-" if limit == float("inf") else f"{limit:.1f}", yes(ratio["median"] <= limit)]
    row(cells + [f"{of_rounds(comparison, side, throughput) / 1000:.0f}" for side in ("target", "against")])


def measure_proxy(options):
    print("\nProxy CPU, microseconds an operation, the proxy alone on its core (nutcracker with -m 512)\n")
    throughputs = ("larder k/s", "nutcracker k/s")
    header("command", "depth", "larder-proxy", "nutcracker", "ratio (min..max)", "at most", "met", *throughputs)
    with servers() as start:
        proxy = start.larder_proxy(0, start.node(1))
        nutcracker = start.nutcracker(0, start.redis(1))
        for depth in DEPTHS:
            sides = ((resp(proxy), proxy), (resp(nutcracker), nutcracker))
            cpu_row("GET", depth, compare(options, *sides, resp_load("1:0", depth)), 1.0)


def measure_client(options):
    print(f"\nRust clients, {TASKS} tasks awaiting one GET each, thousands a second\n")
    header("client and server", "k/s", "p50 us", "p99 us", "server CPU us/op")
    with servers() as start:
        node, redis = start.node(0), start.redis(0)
        larder = f"larder://127.0.0.1:{node.grpc}", node
        redis_rs = f"redis-rs://127.0.0.1:{redis.port}", redis
        comparison = compare(options, larder, redis_rs, ["--tasks", TASKS, "--ratio", "1:0"])
    for name, side in (("larder-client, larder-node", "target"), ("redis-rs, redis-server", "against")):
        cells = [throughput, lambda report: 1000 * report["all"]["p50_us"], lambda report: 1000 * report["all"]["p99_us"]]
        cells = [f"{of_rounds(comparison, side, cell) / 1000:.0f}" for cell in cells]
        row([name, *cells, f"{of_rounds(comparison, side, cpu):.2f}"])
    is_met = comparison["throughput"]["median"] >= 1.0
    print(f"\nThroughput ratio (min..max): {spread(comparison['throughput'])}; at least 1.0: {yes(is_met)}")


def measure_replication(options):
    print("\nServer CPU of both nodes of a shard, microseconds a SET\n")
    throughputs = ("replica k/s", "primary k/s")
    header("command", "depth", "ack = replica", "ack = primary", "ratio (min..max)", "at most", "met", *throughputs)
    with servers() as start:
        etcd = start.etcd(1)
        pairs = [start.pair(0, etcd, ack) for ack in ("replica", "primary")]
        for depth in DEPTHS:
            # Only the depth of 16 has been promised.
            limit = 2.0 if depth == 16 else float("inf")
            sides = [(resp(pair), pair) for pair in pairs]
            cpu_row("SET", depth, compare(options, *sides, resp_load("0:1", depth)), limit)
