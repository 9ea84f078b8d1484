"""What concerns all keys covers the whole cluster, through any entry point."""

import threading

from larder import ENTRIES, NODES, PROTOCOLS, PROXY, Suite, aware, plain

COUNT = 2000


def fill(count=COUNT):
    keys = {f"key:{index}": str(index) for index in range(count)}
    plain().mset(keys)
    return keys


class Keyspace(Suite):
    def test_a_scan_returns_every_key_from_every_entry_point(self):
        keys = fill()
        for protocol in PROTOCOLS:
            for entry in ENTRIES:
                for count in (None, 1, 7, 1000):
                    with self.subTest(entry=entry, protocol=protocol, count=count):
                        found = list(plain(entry, protocol).scan_iter(count=count))
                        self.assertEqual(set(found), set(keys))
                        self.assertEqual(len(found), COUNT, "nothing twice while nothing changes")
            with self.subTest(client="cluster", protocol=protocol):
                found = list(aware(protocol=protocol).scan_iter())
                self.assertEqual(set(found), set(keys))

    def test_a_scan_filters_by_pattern_and_type(self):
        fill(500)
        for entry in ENTRIES:
            r = plain(entry)
            wanted = {f"key:{index}" for index in range(500) if str(index).startswith("4")}
            self.assertEqual(set(r.scan_iter(match="key:4*")), wanted)
            self.assertEqual(set(r.scan_iter(match="key:4*", _type="string")), wanted)
            self.assertEqual(list(r.scan_iter(_type="list")), [])
            self.assertEqual(list(r.scan_iter(match="none*")), [])

    def test_a_scan_misses_no_key_that_is_there_all_the_time(self):
        keys = fill()
        stop = threading.Event()

        def churn():
            r = plain(NODES[1])
            index = 0
            while not stop.is_set():
                index += 1
                r.set(f"churn:{index}", "x")
                if index > 200:
                    r.delete(f"churn:{index - 200}")

        writer = threading.Thread(target=churn)
        writer.start()
        try:
            for entry in ENTRIES:
                found = set(plain(entry).scan_iter(count=20, match="key:*"))
                self.assertEqual(found, set(keys))
        finally:
            stop.set()
            writer.join()

    def test_two_scans_at_once_do_not_disturb_each_other(self):
        keys = fill(500)
        r, s = plain(PROXY), plain(NODES[0])
        one, other = r.scan_iter(count=10), s.scan_iter(count=13)
        found_one, found_other = set(), set()
        for a, b in zip(one, other):
            found_one.add(a)
            found_other.add(b)
        found_one.update(one)
        found_other.update(other)
        # zip() may have taken one key more from the first.
        self.assertGreaterEqual(len(found_one), len(keys) - 1)
        self.assertEqual(found_other, set(keys))

    def test_dbsize_and_keys_count_every_shard(self):
        keys = fill()
        for protocol in PROTOCOLS:
            for entry in ENTRIES:
                r = plain(entry, protocol)
                self.assertEqual(r.dbsize(), COUNT)
                self.assertEqual(sorted(r.keys()), sorted(keys))
                self.assertEqual(len(r.keys("key:1*")), 1111)
                self.assertIn(r.randomkey(), keys)

    def test_randomkey_picks_from_more_than_one_shard(self):
        fill(300)
        r = plain()
        slots = {int(r.execute_command("CLUSTER", "KEYSLOT", r.randomkey())) // 100 for _ in range(200)}
        self.assertGreater(len(slots), 20)

    def test_flushall_and_flushdb_empty_every_shard(self):
        for entry in ENTRIES:
            for flush in ("FLUSHALL", "FLUSHDB"):
                fill(100)
                plain(entry).execute_command(flush)
                for other in ENTRIES:
                    self.assertEqual(plain(other).dbsize(), 0)
                    self.assertEqual(plain(other).keys(), [])

    def test_multi_key_commands_cross_shards_and_answer_in_order(self):
        keys = fill()
        names = list(keys)
        for protocol in PROTOCOLS:
            for entry in ENTRIES:
                r = plain(entry, protocol)
                self.assertEqual(r.mget(names), list(keys.values()))
                self.assertEqual(r.mget([*names[:3], "none", *names[:3]]), ["0", "1", "2", None, "0", "1", "2"])
                self.assertEqual(r.exists(*names, "none"), COUNT)
                self.assertEqual(r.touch(*names), COUNT)
        self.assertEqual(plain(NODES[0]).unlink(*names[:1000]), 1000)
        self.assertEqual(plain(NODES[2]).delete(*names), 1000)
        self.assertEqual(plain().dbsize(), 0)
