//! Which keys are hot: the command, the page and the metrics, after commands that came by every way.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use bytes::Bytes;
use larder_client::{Client, NearCache};
use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::tool::http_get;
use larder_tests::wait;

/// Of each ten commands sent, six are on one key, and no other key comes twice.
fn skewed(connection: &mut Connection, hot: &str, rounds: usize) {
    for round in 0..rounds {
        let mut commands = Vec::new();
        for index in 0..10 {
            let key = match index {
                0..6 => hot.to_owned(),
                _ => format!("cold:{hot}:{round}:{index}"),
            };
            commands.extend(encode(&["GET", &key]));
        }
        connection.send(&commands);
        for _ in 0..10 {
            assert_eq!(connection.read(), Reply::Null);
        }
    }
}

/// Key, rate and percent.
fn told(reply: &Reply) -> Vec<(String, i64, f64)> {
    let keys = reply.items().iter().map(Reply::items);
    keys.map(|hot| {
        let percent = hot[2].text().parse().unwrap();
        (hot[0].text(), hot[1].integer(), percent)
    })
    .collect()
}

#[test]
fn the_key_that_is_used_most_is_named_first_wherever_one_asks() {
    let larder = Dev::with(&["--admin-port", "0"]);
    skewed(&mut larder.connect(), "hot", 300);
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        let keys = told(&connection.ask("HOTKEYS COUNT 5"));
        let (key, rate, percent) = &keys[0];
        assert_eq!(key, "hot", "{keys:?}");
        // A third of the others are at the same node.
        assert!(*rate > 0 && (40.0..=100.0).contains(percent), "{keys:?}");
        assert!(keys.len() <= 15, "{keys:?}");
        assert!(keys.is_sorted_by(|a, b| a.1 >= b.1), "{keys:?}");
        assert!(told(&connection.ask("HOTKEYS")).len() <= 30);
        for (line, error) in [
            ("HOTKEYS COUNT 0", "ERR COUNT must be an integer"),
            ("HOTKEYS COUNT 257", "ERR COUNT must be an integer"),
            ("HOTKEYS COUNT x", "ERR value is not an integer"),
            ("HOTKEYS COUNT", "ERR syntax error"),
            ("HOTKEYS GET 5", "ERR syntax error"),
        ] {
            let reply = connection.ask(line).text();
            assert!(reply.starts_with(error), "{line}: {reply}");
        }
    }

    let page = http_get(larder.admin(), "/hotkeys");
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    let page: serde_json::Value = serde_json::from_str(page).unwrap();
    let nodes = page["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let hottest = |node: &&serde_json::Value| node["keys"][0]["key"] == "hot";
    let node = nodes.iter().find(hottest).unwrap();
    assert_eq!(node["keys"][0]["bytes"], 3);
    let share = node["keys"][0]["share"].as_f64().unwrap();
    assert!((0.4..=1.0).contains(&share), "{page}");
    assert!(node["rate"].as_f64() >= node["keys"][0]["rate"].as_f64());

    let metrics = http_get(larder.admin(), "/metrics");
    let shares = metrics.lines().filter_map(|line| {
        let sample = line.strip_prefix("larder_hot_key_share_ratio{")?;
        sample.rsplit(' ').next()?.parse::<f64>().ok()
    });
    assert!(shares.fold(0.0, f64::max) > 0.4, "{metrics}");
    assert!(!metrics.contains("\"hot\""), "a key is a label");
}

#[tokio::test]
async fn typed_calls_and_pipes_of_clients_count_as_well() {
    let larder = Dev::with(&["--shards", "1"]);
    let client = Client::connect([larder.nodes[0].grpc.to_string()]);
    let client = client.await.unwrap();
    for _ in 0..300 {
        let read = client.get_with_version::<String>("typed").await;
        assert_eq!(read.unwrap(), None);
    }
    for _ in 0..200 {
        client.get::<Option<String>>("piped").await.unwrap();
    }
    let mut node = Connection::tcp(larder.nodes[0].resp);
    skewed(&mut node, "in place", 10);
    let keys = told(&node.ask("HOTKEYS COUNT 3"));
    let names: Vec<&str> = keys.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(names, ["typed", "piped", "in place"], "{keys:?}");
}

#[tokio::test]
async fn the_client_makes_one_list_of_what_the_shards_tell() {
    let larder = Dev::start();
    skewed(&mut larder.connect(), "hot", 50);
    let client = Client::connect([larder.nodes[0].grpc.to_string()]);
    let client = client.await.unwrap();
    let keys: Vec<Vec<Bytes>> = client.command(&["hotkeys", "count", "2"]).await.unwrap();
    assert_eq!(&keys[0][0][..], b"hot");
    assert!((2..=6).contains(&keys.len()), "{keys:?}");
    let rate = |key: &Vec<Bytes>| String::from_utf8_lossy(&key[1]).parse::<i64>().unwrap();
    assert!(keys.is_sorted_by(|a, b| rate(a) >= rate(b)), "{keys:?}");
}

/// Has the nodes call a key hot, by reading it on a connection of its own for as long as `until` is false.
fn hammer(larder: &Dev, hot: &str, mut until: impl FnMut() -> bool) {
    let mut connection = larder.connect();
    let reads = encode(&["GET", hot]).repeat(100);
    wait::until("the key to be called hot", || {
        connection.send(&reads);
        for _ in 0..100 {
            connection.read();
        }
        until()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_near_cache_of_hot_keys_only_keeps_what_everybody_reads_and_nothing_else() {
    let larder = Dev::with(&["--shards", "2"]);
    let client = Client::builder().near_cache(NearCache::new(1024 * 1024).hot_keys_only());
    let client = client.connect(larder.seeds().split(',')).await.unwrap();
    let rare: Vec<String> = (0..1_000).map(|number| format!("rare:{number}")).collect();
    let mut other = larder.connect();
    other.ask("SET hot old");
    let sets = rare.iter().flat_map(|key| encode(&["SET", key, "x"]));
    other.send(&sets.collect::<Vec<u8>>());
    rare.iter()
        .for_each(|_| assert_eq!(other.read().text(), "OK"));
    let runtime = tokio::runtime::Handle::current();
    let near = || client.near_stats().unwrap();
    let read = |key: &str| {
        let value = runtime.block_on(client.get::<Option<String>>(key));
        value.unwrap()
    };
    let mut turns = rare.iter().cycle();
    tokio::task::block_in_place(|| {
        hammer(&larder, "hot", || {
            assert_eq!(read("hot").as_deref(), Some("old"));
            assert_eq!(read(turns.next().unwrap()).as_deref(), Some("x"));
            near().hits > 0
        });
        assert_eq!(near().hot_keys, 1);
        // A change by another ends the copy; the key is hot still, and so has one again.
        other.ask("SET hot new");
        wait::until("the change to be shown", || {
            read("hot").as_deref() == Some("new")
        });
        assert!(near().changes > 0, "{:?}", near());
        let before = near().hits;
        wait::until("another copy", || {
            assert_eq!(read("hot").as_deref(), Some("new"));
            near().hits > before
        });
    });
    for key in &rare {
        assert_eq!(client.near_copy(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn a_proxy_hears_of_hot_keys_that_others_read() {
    let larder = Dev::with(&["--shards", "2", "--admin-port", "0"]);
    let proxy = Proxy::start(&larder, &["--near-cache", "16mb"]);
    let mut through = proxy.connect();
    let number = |through: &mut Connection, name: &str| -> u64 {
        let info = through.ask("INFO stats").text();
        let mut lines = info.lines();
        let number = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        number.unwrap().parse().unwrap()
    };
    through.ask("SET hot x");
    let mut cold = 0;
    hammer(&larder, "hot", || {
        // None of these twice: they have the proxy listen to the nodes.
        for _ in 0..20 {
            cold += 1;
            through.ask(&format!("GET cold:{cold}"));
        }
        number(&mut through, "near_cache_hot_keys") == 1
    });
    let metrics = http_get(larder.admin(), "/metrics");
    let told = metrics.lines().filter_map(|line| {
        let sample = line.strip_prefix("larder_near_hot_keys{")?;
        sample.rsplit(' ').next()?.parse::<u64>().ok()
    });
    assert_eq!(told.sum::<u64>(), 1, "{metrics}");
    assert_eq!(number(&mut through, "near_cache_hits"), 0);
    wait::until("a copy", || {
        assert_eq!(through.ask("GET hot").text(), "x");
        number(&mut through, "near_cache_hits") > 0
    });
}
