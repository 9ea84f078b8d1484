//! Any entry point serves the whole keyspace, and who asks for the topology is sent to the owner.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::raw::Connection;
use larder_tests::reply::Reply;
use larder_tests::wait;

/// CLUSTER SLOTS as a table: who owns each slot.
fn owners(connection: &mut Connection) -> Vec<SocketAddr> {
    let told = connection.ask("CLUSTER SLOTS");
    let mut owners = vec![None; 16384];
    for row in told.items() {
        let row = row.items();
        let node = row[2].items();
        let address: SocketAddr = format!("{}:{}", node[0].text(), node[1].integer())
            .parse()
            .unwrap();
        for slot in row[0].integer()..=row[1].integer() {
            let place = &mut owners[usize::try_from(slot).unwrap()];
            assert_eq!(*place, None, "two ranges hold slot {slot}");
            *place = Some(address);
        }
    }
    let owned = owners.into_iter().enumerate();
    owned
        .map(|(slot, owner)| owner.unwrap_or_else(|| panic!("nobody owns slot {slot}")))
        .collect()
}

/// The slot of a key, as the cluster says.
fn slot_of(connection: &mut Connection, key: &str) -> usize {
    usize::try_from(connection.ask(&format!("CLUSTER KEYSLOT {key}")).integer()).unwrap()
}

#[test]
fn every_slot_has_one_owner_and_every_entry_point_says_the_same() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &[]);
    let told = owners(&mut larder.connect());
    let mut shares: BTreeMap<SocketAddr, i64> = BTreeMap::new();
    for owner in &told {
        *shares.entry(*owner).or_default() += 1;
    }
    let nodes: BTreeSet<SocketAddr> = larder.nodes.iter().map(|node| node.resp).collect();
    assert_eq!(shares.keys().copied().collect::<BTreeSet<_>>(), nodes);
    let fair = 16384 / i64::try_from(nodes.len()).unwrap();
    assert!(
        shares.values().all(|share| *share * 4 <= fair * 5),
        "over 1.25 times the fair share: {shares:?}"
    );
    for entry in larder.entries().into_iter().chain([proxy.resp]) {
        assert_eq!(owners(&mut Connection::tcp(entry)), told, "{entry}");
        let info = Connection::tcp(entry).ask("CLUSTER INFO").text();
        assert!(info.contains("cluster_state:ok\r\n"), "{info}");
        assert!(info.contains("cluster_slots_assigned:16384\r\n"), "{info}");
    }
}

#[test]
fn the_slot_of_a_key_is_the_one_of_the_specification() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut connection = larder.connect();
    for (key, slot) in [
        ("123456789", 12739),
        ("foo", 12182),
        ("bar", 5061),
        ("{user1000}.following", 3443),
        ("{user1000}.followers", 3443),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
    ] {
        assert_eq!(
            connection.ask(&format!("CLUSTER KEYSLOT {key}")).integer(),
            slot,
            "{key}"
        );
    }
}

#[test]
fn a_plain_client_reads_and_writes_every_key_at_every_entry_point() {
    let larder = Dev::start();
    let proxy = Proxy::start(&larder, &[]);
    let mut entries: Vec<Connection> = larder.entries().into_iter().map(Connection::tcp).collect();
    entries.push(proxy.connect());
    for index in 0..200 {
        let writer = index % entries.len();
        let stored = entries[writer].ask(&format!("SET key:{index} value:{index}"));
        assert_eq!(stored, Reply::Simple("OK".to_owned()));
        for entry in &mut entries {
            assert_eq!(
                entry.ask(&format!("GET key:{index}")).text(),
                format!("value:{index}")
            );
        }
    }
    for entry in &mut entries {
        assert_eq!(entry.ask("DBSIZE").integer(), 200);
        let mut command = vec!["MGET".to_owned()];
        command.extend((0..201).map(|index| format!("key:{index}")));
        let values = entry.call(&command);
        for (index, value) in values.items()[..200].iter().enumerate() {
            assert_eq!(value.text(), format!("value:{index}"));
        }
        assert_eq!(values.items()[200], Reply::Null);
        command[0] = "EXISTS".to_owned();
        assert_eq!(entry.call(&command).integer(), 200);
        command[0] = "TOUCH".to_owned();
        assert_eq!(entry.call(&command).integer(), 200);
    }
    let mut command = vec!["UNLINK".to_owned()];
    command.extend((0..100).map(|index| format!("key:{index}")));
    assert_eq!(entries[1].call(&command).integer(), 100);
    command[0] = "DEL".to_owned();
    command.extend((100..200).map(|index| format!("key:{index}")));
    assert_eq!(entries[2].call(&command).integer(), 100);
    assert_eq!(entries[3].ask("DBSIZE").integer(), 0);
}

#[test]
fn replies_come_in_the_order_of_the_commands_whichever_shard_answers() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        let mut load = String::new();
        for index in 0..3000 {
            load += &format!(
                "SET order:{index} {index}\r\nGET order:{index}\r\nMGET order:{index} none order:0\r\n"
            );
        }
        let mut writer = connection.writer();
        let sender = std::thread::spawn(move || {
            std::io::Write::write_all(&mut writer, load.as_bytes()).unwrap()
        });
        for index in 0..3000 {
            assert_eq!(connection.read().text(), "OK");
            assert_eq!(connection.read().text(), index.to_string());
            let values = connection.read();
            assert_eq!(values.items()[0].text(), index.to_string());
            assert_eq!(values.items()[1], Reply::Null);
        }
        sender.join().unwrap();
    }
}

#[test]
fn who_has_asked_for_the_topology_is_sent_to_the_owner_of_a_key() {
    let larder = Dev::start();
    let told = owners(&mut larder.connect());
    for question in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES"] {
        for node in &larder.nodes {
            let mut aware = Connection::tcp(node.resp);
            let mut moved = 0;
            assert!(!matches!(aware.ask(question), Reply::Error(_)));
            for index in 0..100 {
                let key = format!("moved:{index}");
                let slot = slot_of(&mut larder.connect(), &key);
                let owner = told[slot];
                let answer = aware.ask(&format!("SET {key} {index}"));
                if owner == node.resp {
                    assert_eq!(answer, Reply::Simple("OK".to_owned()), "{key}");
                } else {
                    assert_eq!(
                        answer,
                        Reply::Error(format!("MOVED {slot} {owner}")),
                        "{key}"
                    );
                    moved += 1;
                }
            }
            assert!(moved > 10, "{moved} of 100 keys moved from {}", node.name);
        }
    }
    // A proxy owns nothing, so it sends nobody away.
    let mut connection = larder.connect();
    connection.ask("CLUSTER SLOTS");
    for index in 0..100 {
        assert_eq!(connection.ask(&format!("SET moved:{index} 1")).text(), "OK");
    }
}

#[test]
fn commands_that_are_one_step_on_several_keys_refuse_keys_of_several_slots() {
    let larder = Dev::start();
    let node = larder.nodes[0].resp;
    let mut plain = Connection::tcp(node);
    assert_eq!(plain.ask("MSET a 1 b 2 c 3 d 4").text(), "OK");
    for command in [
        "RENAME a b",
        "COPY a b",
        "MSETNX a 1 b 2",
        "LCS a b",
        "RENAMENX a b",
    ] {
        let refused = plain.ask(command).text();
        assert!(
            refused.starts_with("CROSSSLOT "),
            "{command} crosses slots: {refused}"
        );
    }
    assert_eq!(plain.ask("DEL a b c d").integer(), 4);
}

#[test]
fn keys_of_a_slot_are_counted_and_listed_where_they_are() {
    let larder = Dev::start();
    let mut connection = larder.connect();
    for index in 0..20 {
        connection.ask(&format!("SET {{tag}}:{index} v"));
    }
    let slot = slot_of(&mut connection, "{tag}");
    let address = owners(&mut connection)[slot];
    let mut node = Connection::tcp(address);
    assert_eq!(
        node.ask(&format!("CLUSTER COUNTKEYSINSLOT {slot}"))
            .integer(),
        20
    );
    let keys = node.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 100"));
    let keys: BTreeSet<String> = keys.items().iter().map(Reply::text).collect();
    assert_eq!(
        keys,
        (0..20).map(|index| format!("{{tag}}:{index}")).collect()
    );
    assert_eq!(
        node.ask(&format!("CLUSTER GETKEYSINSLOT {slot} 7"))
            .items()
            .len(),
        7
    );
    assert_eq!(
        node.ask("CLUSTER COUNTKEYSINSLOT 16384").text(),
        "ERR Invalid slot"
    );
    assert_eq!(
        node.ask("CLUSTER GETKEYSINSLOT -1 10").text(),
        "ERR Invalid slot or number of keys"
    );
}

#[test]
fn each_node_names_itself_and_the_lists_of_nodes_and_shards_agree() {
    let larder = Dev::start();
    let ids: BTreeSet<String> = larder
        .nodes
        .iter()
        .map(|node| Connection::tcp(node.resp).ask("CLUSTER MYID").text())
        .collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(
        ids.iter()
            .all(|id| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())),
        "{ids:?}"
    );
    let nodes = larder.connect().ask("CLUSTER NODES").text();
    let listed: BTreeSet<String> = nodes
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(listed, ids, "{nodes}");
    for node in &larder.nodes {
        let told = Connection::tcp(node.resp).ask("CLUSTER NODES").text();
        let own = told
            .lines()
            .find(|line| line.contains("myself"))
            .unwrap_or_else(|| panic!("{told}"));
        assert!(own.contains(&format!(" {}@", node.resp)), "{own}");
    }
    let shards = larder.connect().ask("CLUSTER SHARDS");
    assert_eq!(shards.items().len(), 3, "{shards:?}");
}

#[test]
fn flushall_empties_every_shard_through_any_entry_point() {
    let larder = Dev::start();
    for entry in larder.entries() {
        for index in 0..100 {
            larder.connect().ask(&format!("SET flush:{index} v"));
        }
        let mut connection = Connection::tcp(entry);
        assert_eq!(connection.ask("KEYS flush:*").items().len(), 100, "{entry}");
        assert_eq!(connection.ask("FLUSHALL").text(), "OK");
        for other in larder.entries() {
            assert_eq!(
                Connection::tcp(other).ask("DBSIZE").integer(),
                0,
                "{entry}, then {other}"
            );
        }
    }
}

#[test]
fn a_separate_proxy_waits_for_its_cluster_and_says_when_it_is_gone() {
    let mut larder = Dev::with(&["--shards", "1"]);
    let proxy = Proxy::start(&larder, &[]);
    let mut connection = proxy.connect();
    assert_eq!(connection.ask("SET a 1").text(), "OK");
    larder.process.signal("TERM");
    larder.process.wait_exit(wait::PATIENCE);
    // An error or a close, in bounded time; never an answer that looks like a value.
    let told = connection.ask("GET a");
    assert!(matches!(told, Reply::Error(_)), "{told:?}");
    assert_eq!(
        connection.ask("PING").text(),
        "PONG",
        "the proxy itself lives"
    );
}
