"""redis-py as people use it: pools, pipelines, threads, RedisCluster and its routing."""

import asyncio
import threading

import redis
import redis.asyncio
from larder import ENTRIES, NODES, PROTOCOLS, PROXY, Suite, aware, plain


class Pipelines(Suite):
    def test_a_pipeline_answers_in_order(self):
        for protocol in PROTOCOLS:
            for entry in ENTRIES:
                with self.subTest(entry=entry, protocol=protocol):
                    pipe = plain(entry, protocol).pipeline(transaction=False)
                    for index in range(1000):
                        pipe.set(f"p:{index}", index)
                        pipe.get(f"p:{index}")
                    answers = pipe.execute()
                    self.assertEqual(answers[1::2], [str(index) for index in range(1000)])

    def test_an_error_in_a_pipeline_stays_at_its_place(self):
        for entry in ENTRIES:
            r = plain(entry)
            r.set("text", "abc")
            pipe = r.pipeline(transaction=False)
            pipe.set("a", 1).incr("text").get("a")
            answers = pipe.execute(raise_on_error=False)
            self.assertEqual(answers[2], "1")
            self.assertIsInstance(answers[1], redis.ResponseError)

    def test_a_cluster_pipeline_crosses_shards(self):
        for protocol in PROTOCOLS:
            r = aware(protocol=protocol)
            pipe = r.pipeline()
            for index in range(500):
                pipe.set(f"c:{index}", index)
                pipe.get(f"c:{index}")
            answers = pipe.execute()
            self.assertEqual(answers[1::2], [str(index) for index in range(500)])
            self.assertEqual(plain().dbsize(), 500)
            r.flushall()


class Cluster(Suite):
    def test_the_client_learns_every_node_and_slot_from_any_of_them(self):
        for protocol in PROTOCOLS:
            for entry in NODES:
                r = aware(entry, protocol)
                self.assertEqual({(n.host, n.port) for n in r.get_primaries()}, set(NODES))
                self.assertEqual(len(r.nodes_manager.slots_cache), 16384)
                r.close()

    def test_keys_are_read_and_written_straight_at_their_owners(self):
        for protocol in PROTOCOLS:
            r = aware(protocol=protocol)
            owners = set()
            for index in range(300):
                key = f"owner:{index}"
                self.assertTrue(r.set(key, index))
                self.assertEqual(r.get(key), str(index))
                owners.add(r.get_node_from_key(key).port)
                # The owner as the client sees it holds the key itself.
                self.assertEqual(r.keyslot(key), r.cluster_keyslot(key))
            self.assertEqual(owners, {port for _, port in NODES})

    def test_mget_and_mset_split_by_slot(self):
        r = aware()
        pairs = {f"split:{index}": str(index) for index in range(200)}
        r.mset_nonatomic(pairs)
        self.assertEqual(r.mget_nonatomic(list(pairs)), list(pairs.values()))
        self.assertEqual(r.exists(*pairs), 200)
        self.assertEqual(r.delete(*pairs), 200)

    def test_the_cluster_describes_itself(self):
        for protocol in PROTOCOLS:
            r = aware(protocol=protocol)
            nodes = r.cluster_nodes()
            self.assertEqual(set(nodes), {f"{host}:{port}" for host, port in NODES})
            self.assertEqual(len(r.cluster_shards()), len(NODES))
            slots = r.cluster_slots()
            self.assertEqual(sum(end - start + 1 for start, end in slots), 16384)
            self.assertEqual(r.cluster_info(target_nodes=redis.RedisCluster.RANDOM)["cluster_state"], "ok")
            self.assertTrue(r.readonly(target_nodes=redis.RedisCluster.ALL_NODES))
            self.assertTrue(r.readwrite(target_nodes=redis.RedisCluster.ALL_NODES))

    def test_a_node_sends_a_cluster_client_to_the_owner(self):
        r = aware()
        key = next(f"m:{i}" for i in range(1000) if r.get_node_from_key(f"m:{i}").port != NODES[0][1])
        at_node = plain(NODES[0])
        connection = at_node.connection_pool.get_connection()
        connection.send_command("CLUSTER", "SLOTS")
        connection.read_response()
        connection.send_command("GET", key)
        with self.assertRaises(redis.exceptions.MovedError) as caught:
            connection.read_response()
        self.assertEqual(caught.exception.port, r.get_node_from_key(key).port)
        self.assertEqual(caught.exception.slot_id, r.keyslot(key))
        connection.disconnect()


class Concurrency(Suite):
    def test_threads_that_count_together_lose_nothing(self):
        def count(entry):
            r = plain(entry)
            for _ in range(300):
                r.incr("together")

        threads = [threading.Thread(target=count, args=(entry,)) for entry in ENTRIES * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(plain().get("together"), str(300 * len(threads)))

    def test_only_one_of_many_sets_a_missing_key(self):
        for round_ in range(20):
            winners = []

            def race(entry):
                if plain(entry).set(f"lock:{round_}", "mine", nx=True, ex=10):
                    winners.append(entry)

            threads = [threading.Thread(target=race, args=(entry,)) for entry in ENTRIES * 2]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(len(winners), 1)

    def test_asyncio_clients(self):
        async def use(entry, protocol):
            r = redis.asyncio.Redis(host=entry[0], port=entry[1], protocol=protocol, decode_responses=True)
            await asyncio.gather(*(r.set(f"aio:{index}", index) for index in range(100)))
            values = await asyncio.gather(*(r.get(f"aio:{index}") for index in range(100)))
            await r.aclose()
            return values

        async def use_cluster(protocol):
            r = redis.asyncio.RedisCluster(
                host=NODES[0][0], port=NODES[0][1], protocol=protocol, decode_responses=True
            )
            await asyncio.gather(*(r.set(f"aio:{index}", index) for index in range(100)))
            values = await asyncio.gather(*(r.get(f"aio:{index}") for index in range(100)))
            await r.aclose()
            return values

        for protocol in PROTOCOLS:
            wanted = [str(index) for index in range(100)]
            self.assertEqual(asyncio.run(use(PROXY, protocol)), wanted)
            self.assertEqual(asyncio.run(use_cluster(protocol)), wanted)
