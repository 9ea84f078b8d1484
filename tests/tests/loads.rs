//! One load per missing key: leases over RESP, at nodes and through a proxy.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::dev::Dev;
use larder_tests::origin::waiters;
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::serve::{Cluster, info};
use larder_tests::wait;

/// A lease and a wait that no test outlasts.
const LONG: &str = "600000";

fn words(reply: &Reply) -> Vec<String> {
    reply.items().iter().map(Reply::text).collect()
}

/// Asks for a key, to wait for it as long as it takes.
fn load(connection: &mut Connection, key: &str, lease_ms: &str) {
    connection.send(&encode(&["LOAD.GET", key, lease_ms, LONG]));
}

/// The token of who is to load a key.
#[track_caller]
fn lead(connection: &mut Connection, key: &str, lease_ms: &str) -> String {
    load(connection, key, lease_ms);
    led(connection)
}

/// The token of who waited, and is to load the key now.
#[track_caller]
fn led(connection: &mut Connection) -> String {
    let reply = words(&connection.read());
    assert_eq!(reply[0], "LEAD", "{reply:?}");
    reply[1].clone()
}

#[test]
fn a_thousand_clients_wherever_they_ask_cause_one_load() {
    let larder = Dev::with(&["--shards", "3"]);
    let entries = larder.entries();
    let mut clients: Vec<_> = (0..1000)
        .map(|number| Connection::tcp(entries[number % entries.len()]))
        .collect();
    let (leader, waiting) = clients.split_first_mut().unwrap();
    let token = lead(leader, "missing", LONG);
    for client in &mut *waiting {
        load(client, "missing", LONG);
    }
    wait::until("all to wait", || waiters(&entries) == 999);
    assert_eq!(
        leader
            .call(&["LOAD.SET", "missing", &token, "found"])
            .text(),
        "OK"
    );
    for client in waiting {
        assert_eq!(words(&client.read()), ["HIT", "found"]);
        assert_eq!(client.ask("PING").text(), "PONG");
    }
    wait::until("nobody to wait", || waiters(&entries) == 0);
}

#[test]
fn every_ending_has_its_name() {
    let larder = Dev::with(&["--shards", "2"]);
    let entries = larder.entries();
    // One of the two nodes has the key, the other and the proxy send on what is about it.
    for (number, entry) in entries.iter().copied().enumerate() {
        let key = &format!("key:{number}");
        let (mut first, mut second) = (Connection::tcp(entry), Connection::tcp(entry));
        let mut other = larder.connect();
        let all_wait = |count: usize| wait::until("them to wait", || waiters(&entries) == count);

        let token = lead(&mut first, key, LONG);
        assert_eq!(
            words(&second.call(&["LOAD.GET", key, LONG, "0"])),
            ["TIMEOUT"]
        );
        assert_eq!(
            words(&second.call(&["LOAD.GET", key, LONG, "30"])),
            ["TIMEOUT"]
        );
        load(&mut second, key, LONG);
        all_wait(1);
        let done = first.call(&["LOAD.FAIL", key, &token, "the origin is down"]);
        assert_eq!(done.text(), "OK");
        assert_eq!(words(&second.read()), ["FAILED", "the origin is down"]);

        // A deletion voids the lease, and who waits is to load what there is now.
        let token = lead(&mut first, key, LONG);
        load(&mut second, key, LONG);
        all_wait(1);
        assert_eq!(other.call(&["DEL", key]).integer(), 0);
        let newer = led(&mut second);
        assert_eq!(first.call(&["LOAD.SET", key, &token, "old"]), Reply::Null);
        assert_eq!(other.call(&["GET", key]), Reply::Null);
        load(&mut first, key, LONG);
        all_wait(1);
        assert_eq!(second.call(&["LOAD.SET", key, &newer, "new"]).text(), "OK");
        assert_eq!(words(&first.read()), ["HIT", "new"]);
        assert_eq!(other.call(&["DEL", key]).integer(), 1);

        // A write from elsewhere is what they waited for.
        lead(&mut first, key, LONG);
        load(&mut second, key, LONG);
        all_wait(1);
        assert_eq!(other.call(&["SET", key, "written"]).text(), "OK");
        assert_eq!(words(&second.read()), ["HIT", "written"]);
        assert_eq!(other.call(&["DEL", key]).integer(), 1);

        // A leader that says nothing any more is replaced when its lease has run out.
        lead(&mut first, key, "50");
        let token = lead(&mut second, key, LONG);
        load(&mut first, key, LONG);
        all_wait(1);
        assert_eq!(second.call(&["LOAD.SET", key, &token, "x"]).text(), "OK");
        assert_eq!(words(&first.read()), ["HIT", "x"]);
    }
}

#[test]
fn what_came_before_leaves_first_and_who_leaves_waits_no_longer() {
    let larder = Dev::with(&["--shards", "2"]);
    let entries = larder.entries();
    for &entry in &entries {
        let (mut first, mut second) = (Connection::tcp(entry), Connection::tcp(entry));
        lead(&mut first, "slow", LONG);
        let commands = [
            encode(&["SET", "before", "1"]),
            encode(&["GET", "before"]),
            encode(&["LOAD.GET", "slow", LONG, LONG]),
            encode(&["GET", "before"]),
        ];
        second.send(&commands.concat());
        assert_eq!(second.read().text(), "OK");
        assert_eq!(second.read().text(), "1");
        wait::until("it to wait", || waiters(&entries) == 1);
        first.ask("SET slow done");
        assert_eq!(words(&second.read()), ["HIT", "done"]);
        assert_eq!(second.read().text(), "1");

        first.ask("DEL slow");
        lead(&mut first, "slow", LONG);
        load(&mut second, "slow", LONG);
        wait::until("it to wait", || waiters(&entries) == 1);
        drop(second);
        wait::until("nobody to wait", || waiters(&entries) == 0);
        first.ask("DEL slow");
    }
}

#[test]
fn a_lease_is_not_lost_with_the_clients_that_waited_for_it() {
    let larder = Dev::with(&["--shards", "1"]);
    let entries = larder.entries();
    let mut first = Connection::tcp(larder.nodes[0].resp);
    let mut other = Connection::tcp(larder.nodes[0].resp);
    for round in 0..10 {
        let key = &format!("key:{round}");
        lead(&mut first, key, LONG);
        let mut waiting: Vec<_> = (0..20)
            .map(|_| Connection::tcp(larder.nodes[0].resp))
            .collect();
        for client in &mut waiting {
            load(client, key, LONG);
        }
        wait::until("all to wait", || waiters(&entries) == 20);
        // The lease is void and they have all left, and the node learns of both at once.
        larder.process.pause();
        other.send(&encode(&["DEL", key]));
        drop(waiting);
        larder.process.signal("CONT");
        assert_eq!(other.read().integer(), 0);
        lead(&mut first, key, LONG);
    }
}

#[test]
fn long_values_are_handed_to_all_who_wait() {
    let larder = Dev::with(&["--shards", "1"]);
    let entries = larder.entries();
    let mut clients: Vec<_> = (0..20).map(|_| larder.connect()).collect();
    let (leader, waiting) = clients.split_first_mut().unwrap();
    let token = lead(leader, "image", LONG);
    for client in &mut *waiting {
        load(client, "image", LONG);
    }
    wait::until("all to wait", || waiters(&entries) == 19);
    let image = "i".repeat(3_000_000);
    let set = [
        "LOAD.SET", "image", &token, &image, "PX", LONG, "STALE", LONG,
    ];
    assert_eq!(leader.call(&set).text(), "OK");
    for client in waiting {
        assert!(words(&client.read()) == ["HIT", &image]);
    }
}

#[test]
fn the_clients_of_a_proxy_wait_by_one_call_and_share_the_value() {
    let larder = Dev::with(&["--shards", "1"]);
    let proxy = Proxy::start(&larder, &[]);
    let node = larder.nodes[0].resp;
    let mut leader = Connection::tcp(node);
    let token = lead(&mut leader, "image", LONG);
    let mut waiting: Vec<_> = (0..200).map(|_| proxy.connect()).collect();
    // Some would not wait for long, and do not.
    let (hasty, patient) = waiting.split_at_mut(10);
    for client in &mut *patient {
        load(client, "image", LONG);
    }
    for client in &mut *hasty {
        client.send(&encode(&["LOAD.GET", "image", LONG, "50"]));
    }
    for client in hasty {
        assert_eq!(words(&client.read()), ["TIMEOUT"]);
    }
    wait::until("all to wait", || waiters(&[proxy.resp, node]) == 190);
    assert_eq!(info(node, "loads")["load_waiters"], "1");
    assert_eq!(info(proxy.resp, "clients")["blocked_clients"], "190");
    let before = proxy.process.resident_bytes();
    let image = "i".repeat(1_000_000);
    let set = ["LOAD.SET", "image", &token, &image];
    assert_eq!(leader.call(&set).text(), "OK");
    wait::until("all to be told", || {
        patient.iter().all(Connection::has_input)
    });
    let grown = proxy.process.resident_bytes().saturating_sub(before);
    for client in patient {
        assert!(words(&client.read()) == ["HIT", &image]);
    }
    assert!(grown < 50_000_000, "{grown} bytes for 190 clients");
    assert_eq!(info(proxy.resp, "clients")["blocked_clients"], "0");
}

#[test]
fn a_killed_primary_costs_one_more_load_and_everybody_has_the_value() {
    let mut cluster = Cluster::start(1, 2, &[]);
    let primary = cluster.wait_whole(&[0, 1], 2);
    let other = 1 - primary;
    let mut leader = cluster.connect(other);
    let token = lead(&mut leader, "missing", LONG);
    let mut waiting: Vec<_> = (0..100).map(|_| cluster.connect(other)).collect();
    for client in &mut waiting {
        load(client, "missing", LONG);
    }
    let entries = [primary, other].map(|node| cluster.nodes[node].resp);
    wait::until("all to wait", || waiters(&entries) == 100);
    cluster.kill(primary);
    wait::until("all but one to wait again", || {
        waiters(&[cluster.nodes[other].resp]) == 99
    });
    // A lease does not survive a term.
    let reply = leader.call(&["LOAD.SET", "missing", &token, "old"]);
    assert_eq!(reply, Reply::Null);
    let mut new = None;
    wait::until("one of them to lead", || {
        new = waiting.iter().position(Connection::has_input);
        new.is_some()
    });
    let mut new = waiting.remove(new.unwrap());
    let token = led(&mut new);
    let done = new.call(&["LOAD.SET", "missing", &token, "new"]);
    assert_eq!(done.text(), "OK");
    for client in &mut waiting {
        assert_eq!(words(&client.read()), ["HIT", "new"]);
    }
}
