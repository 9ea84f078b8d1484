"""Every command family through redis-py: plain at the proxy and at a node, and cluster-aware, RESP2 and RESP3."""

import time

import redis
from larder import ENTRIES, NODES, Suite, eventually, plain, with_each_client

# The keys of one test share a hash tag where a command takes several and is one step.
A, B, C = "{x}a", "{x}b", "{x}c"


class Strings(Suite):
    @with_each_client
    def test_set_has_every_option(self, r):
        self.assertTrue(r.set("k", "v"))
        self.assertIsNone(r.set("k", "w", nx=True))
        self.assertTrue(r.set("k", "w", xx=True))
        self.assertIsNone(r.set("none", "w", xx=True))
        self.assertEqual(r.set("k", "x", get=True), "w")
        self.assertIsNone(r.set("fresh", "x", get=True))
        self.assertTrue(r.set("k", "v", ex=100))
        self.assertTrue(98 <= r.ttl("k") <= 100)
        self.assertTrue(r.set("k", "v", px=50_000))
        self.assertTrue(48_000 <= r.pttl("k") <= 50_000)
        self.assertTrue(r.set("k", "v2", keepttl=True))
        self.assertTrue(48_000 <= r.pttl("k") <= 50_000)
        self.assertTrue(r.set("k", "v", exat=33177117420))
        self.assertEqual(r.expiretime("k"), 33177117420)
        self.assertTrue(r.set("k", "v", pxat=33177117420123))
        self.assertEqual(r.pexpiretime("k"), 33177117420123)
        self.assertTrue(r.set("k", "v"))
        self.assertEqual(r.ttl("k"), -1)

    @with_each_client
    def test_values_are_bytes(self, client):
        value = bytes(range(256)) * 40
        raw = plain(decode_responses=False)
        raw.set("bytes", value)
        self.assertEqual(raw.get("bytes"), value)
        self.assertEqual(client.strlen("bytes"), len(value))
        raw.set(b"\x00\xff\r\n", b"")
        self.assertEqual(raw.get(b"\x00\xff\r\n"), b"")

    @with_each_client
    def test_the_older_setters(self, r):
        self.assertTrue(r.setnx("k", "1"))
        self.assertFalse(r.setnx("k", "2"))
        self.assertEqual(r.execute_command("GETSET", "k", "3"), "1")
        r.execute_command("SETEX", "k", 100, "v")
        self.assertTrue(98 <= r.ttl("k") <= 100)
        r.execute_command("PSETEX", "k", 100_000, "v")
        self.assertTrue(98 <= r.ttl("k") <= 100)
        self.assertEqual(r.getex("k", persist=True), "v")
        self.assertEqual(r.ttl("k"), -1)
        self.assertEqual(r.getex("k", ex=100), "v")
        self.assertTrue(98 <= r.ttl("k") <= 100)
        self.assertEqual(r.getdel("k"), "v")
        self.assertIsNone(r.getdel("k"))
        for command in (("SETEX", "k", 0, "v"), ("PSETEX", "k", -1, "v")):
            with self.assertRaisesRegex(redis.ResponseError, "invalid expire time"):
                r.execute_command(*command)

    @with_each_client
    def test_ranges(self, r):
        self.assertEqual(r.append("k", "Hello"), 5)
        self.assertEqual(r.append("k", " World"), 11)
        self.assertEqual(r.getrange("k", 0, 4), "Hello")
        self.assertEqual(r.getrange("k", -5, -1), "World")
        self.assertEqual(r.getrange("k", 5, 1), "")
        self.assertEqual(r.setrange("k", 6, "Redis"), 11)
        self.assertEqual(r.get("k"), "Hello Redis")
        self.assertEqual(r.setrange("padded", 3, "x"), 4)
        self.assertEqual(r.get("padded"), "\0\0\0x")
        self.assertEqual(r.strlen("padded"), 4)
        self.assertEqual(r.strlen("none"), 0)

    @with_each_client
    def test_counters(self, r):
        self.assertEqual(r.incr("n"), 1)
        self.assertEqual(r.incrby("n", 41), 42)
        self.assertEqual(r.decr("n"), 41)
        self.assertEqual(r.decrby("n", 41), 0)
        self.assertEqual(r.incrbyfloat("f", 0.5), 0.5)
        self.assertEqual(r.incrbyfloat("f", "1e2"), 100.5)
        r.set("n", 2**63 - 1)
        with self.assertRaisesRegex(redis.ResponseError, "overflow"):
            r.incr("n")
        r.set("n", "text")
        with self.assertRaisesRegex(redis.ResponseError, "not an integer"):
            r.incr("n")
        with self.assertRaisesRegex(redis.ResponseError, "not a valid float"):
            r.incrbyfloat("n", 1)

    @with_each_client
    def test_many_at_once(self, r):
        self.assertTrue(r.mset({A: 1, B: 2}))
        self.assertEqual(r.mget(A, B, C), ["1", "2", None])
        self.assertFalse(r.msetnx({B: 3, C: 3}))
        self.assertIsNone(r.get(C))
        self.assertTrue(r.msetnx({"{x}d": 4, "{x}e": 5}))
        self.assertEqual(r.get("{x}e"), "5")

    @with_each_client
    def test_longest_common_subsequence(self, r):
        r.mset({A: "ohmytext", B: "mynewtext"})
        self.assertEqual(r.lcs(A, B), "mytext")
        self.assertEqual(r.lcs(A, B, len=True), 6)
        found = str(r.lcs(A, B, idx=True, minmatchlen=4, withmatchlen=True))
        self.assertIn("[4, 7]", found)
        self.assertIn("[5, 8]", found)


class Keys(Suite):
    @with_each_client
    def test_what_is_there(self, r):
        r.mset({A: 1, B: 2})
        self.assertEqual(r.exists(A, B, C, A), 3)
        self.assertEqual(r.touch(A, B, C), 2)
        self.assertEqual(r.type(A), "string")
        self.assertEqual(r.type(C), "none")
        self.assertEqual(r.delete(A, C), 1)
        self.assertEqual(r.unlink(B, C), 1)
        self.assertEqual(r.exists(A, B), 0)

    @with_each_client
    def test_deadlines(self, r):
        r.set("k", "v")
        self.assertEqual(r.ttl("k"), -1)
        self.assertEqual(r.ttl("none"), -2)
        self.assertTrue(r.expire("k", 100))
        self.assertFalse(r.expire("none", 100))
        self.assertTrue(98 <= r.ttl("k") <= 100)
        self.assertFalse(r.expire("k", 200, nx=True))
        self.assertTrue(r.expire("k", 200, xx=True))
        self.assertFalse(r.expire("k", 100, gt=True))
        self.assertTrue(r.expire("k", 100, lt=True))
        self.assertTrue(r.pexpire("k", 50_000))
        self.assertTrue(48_000 <= r.pttl("k") <= 50_000)
        self.assertTrue(r.expireat("k", 33177117420))
        self.assertEqual(r.expiretime("k"), 33177117420)
        self.assertTrue(r.pexpireat("k", 33177117420001))
        self.assertEqual(r.pexpiretime("k"), 33177117420001)
        self.assertTrue(r.persist("k"))
        self.assertFalse(r.persist("k"))
        self.assertTrue(r.expire("k", -1))
        self.assertEqual(r.exists("k"), 0)

    @with_each_client
    def test_a_key_is_gone_at_its_deadline_and_not_before(self, r):
        start = time.monotonic()
        r.set("k", "v", px=300)
        while r.get("k") == "v":
            self.assertLess(time.monotonic() - start, 5)
        self.assertGreaterEqual(time.monotonic() - start, 0.295)
        self.assertEqual(r.exists("k"), 0)

    @with_each_client
    def test_rename_and_copy(self, r):
        r.set(A, "1", ex=100)
        self.assertTrue(r.rename(A, B))
        self.assertTrue(98 <= r.ttl(B) <= 100)
        with self.assertRaisesRegex(redis.ResponseError, "no such key"):
            r.rename(A, B)
        r.set(A, "2")
        self.assertFalse(r.renamenx(A, B))
        self.assertTrue(r.renamenx(A, C))
        self.assertTrue(r.copy(B, A))
        self.assertFalse(r.copy(B, C))
        self.assertTrue(r.copy(B, C, replace=True))
        self.assertEqual(r.mget(A, B, C), ["1", "1", "1"])

    @with_each_client
    def test_object_and_memory(self, r):
        r.set("k", "hello")
        self.assertEqual(r.object("ENCODING", "k"), "embstr")
        self.assertEqual(r.object("REFCOUNT", "k"), 1)
        with self.assertRaisesRegex(redis.ResponseError, "idle time not tracked"):
            r.object("IDLETIME", "k")
        self.assertGreater(r.memory_usage("k"), 5)
        r.set("large", "x" * 100_000)
        self.assertGreater(r.memory_usage("large"), 100_000)
        self.assertLess(r.memory_usage("large"), 140_000)
        self.assertIsNone(r.memory_usage("none"))


class Server(Suite):
    def test_the_session(self):
        for protocol in (2, 3):
            r = plain(protocol=protocol, client_name="me")
            self.assertTrue(r.ping())
            self.assertEqual(r.echo("hi"), "hi")
            self.assertEqual(r.client_getname(), "me")
            self.assertGreater(r.client_id(), 0)
            self.assertEqual(r.client_info()["name"], "me")
            self.assertIn("me", [client["name"] for client in r.client_list()])
            self.assertTrue(r.select(0))
            with self.assertRaises(redis.ResponseError):
                r.select(1)

    def test_config(self):
        for entry in ENTRIES:
            r = plain(entry)
            self.assertGreater(int(r.config_get("maxclients")["maxclients"]), 0)
            self.assertTrue(r.config_resetstat())
            with self.assertRaises(redis.ResponseError):
                r.config_set("no-such-parameter", 1)
            r.config_set("timeout", 100)
            self.assertEqual(r.config_get("timeout")["timeout"], "100")
            r.config_set("timeout", 0)
        for node in NODES:
            self.assertGreater(int(plain(node).config_get("maxmemory*")["maxmemory"]), 0)

    def test_info(self):
        for entry in ENTRIES:
            info = plain(entry).info()
            for field in ("redis_version", "connected_clients", "uptime_in_seconds"):
                self.assertIn(field, info)

    def test_a_node_counts_hits_misses_and_memory(self):
        nodes = [plain(node) for node in NODES]

        def total(field):
            return sum(int(node.info()[field]) for node in nodes)

        before = total("keyspace_hits"), total("keyspace_misses"), total("used_memory")
        r = plain()
        r.set("hit", "x" * 100_000)
        r.get("hit")
        r.get("miss")
        eventually(
            lambda: total("keyspace_hits") > before[0]
            and total("keyspace_misses") > before[1]
            and total("used_memory") > before[2] + 50_000,
            "a hit, a miss and the memory of a value are counted",
        )
        self.assertGreater(total("maxmemory"), 0)
        self.assertEqual(sum(node.info("keyspace").get("db0", {}).get("keys", 0) for node in nodes), 1)

    def test_commands_describe_themselves(self):
        for protocol in (2, 3):
            r = plain(protocol=protocol)
            commands = r.command()
            for name in ("get", "set", "mget", "del", "scan", "cluster"):
                self.assertIn(name, commands)
            self.assertEqual(commands["get"]["arity"], 2)
            self.assertEqual(r.command_count(), len(commands))
            self.assertEqual(r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])

    def test_time_and_slowlog(self):
        r = plain()
        seconds, microseconds = r.time()
        self.assertLess(abs(seconds + microseconds / 1e6 - time.time()), 5)
        self.assertTrue(r.slowlog_reset())
        self.assertGreaterEqual(r.slowlog_len(), 0)
        self.assertIsInstance(r.slowlog_get(), list)
