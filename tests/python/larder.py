"""Where the cluster under test listens, and one client of each kind.

The Rust test that runs these suites sets LARDER_PROXY (host:port) and LARDER_NODES (host:port,...).
"""

import functools
import os
import time
import unittest

import redis


def _address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


PROXY = _address(os.environ["LARDER_PROXY"])
NODES = [_address(node) for node in os.environ["LARDER_NODES"].split(",") if node]
ENTRIES = [PROXY, *NODES]
PROTOCOLS = [2, 3]


def plain(entry=PROXY, protocol=2, **options):
    options.setdefault("decode_responses", True)
    return redis.Redis(host=entry[0], port=entry[1], protocol=protocol, **options)


def aware(entry=None, protocol=2, **options):
    host, port = entry or NODES[0]
    options.setdefault("decode_responses", True)
    return redis.RedisCluster(host=host, port=port, protocol=protocol, **options)


def eventually(condition, what, seconds=10):
    """Waits for a condition, for a bounded time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for: {what}")
        time.sleep(0.005)


class Suite(unittest.TestCase):
    def setUp(self):
        plain().flushall()


def with_each_client(test):
    """Runs a test for a plain client at the proxy and at a node, and a cluster-aware one, in RESP2 and RESP3."""

    @functools.wraps(test)
    def run(self):
        for protocol in PROTOCOLS:
            for entry in (PROXY, NODES[-1], "cluster"):
                with self.subTest(entry=entry, protocol=protocol):
                    client = aware(protocol=protocol) if entry == "cluster" else plain(entry, protocol)
                    with client:
                        client.flushall()
                        test(self, client)

    return run
