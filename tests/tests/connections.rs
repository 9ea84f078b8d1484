//! What one connection may do to the others: nothing. Deep pipelines, half-closed sockets, readers that do not
//! read, limits on clients and idle time, and the CLIENT commands.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::dev::Dev;
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::wait;

fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

#[test]
fn a_hundred_thousand_commands_in_one_write_are_answered_in_order() {
    let larder = Dev::start();
    for entry in [larder.proxy, larder.nodes[0].resp] {
        larder.connect().ask("FLUSHALL");
        let mut load = Vec::new();
        for index in 0..100_000 {
            load.extend(match index % 4 {
                0 => encode(&["SET", &format!("deep:{}", index / 4), &index.to_string()]),
                1 => encode(&["GET", &format!("deep:{}", index / 4)]),
                2 => encode(&["INCR", "deep:counter"]),
                _ => encode(&["ECHO", &index.to_string()]),
            });
        }
        let mut connection = Connection::tcp(entry);
        // Nothing is read until everything is written.
        connection.send(&load);
        for index in 0..100_000 {
            let reply = connection.read();
            match index % 4 {
                0 => assert_eq!(reply, ok(), "{index} at {entry}"),
                1 => assert_eq!(reply.text(), (index - 1).to_string(), "{index} at {entry}"),
                2 => assert_eq!(
                    reply.integer(),
                    i64::from(index / 4 + 1),
                    "{index} at {entry}"
                ),
                _ => assert_eq!(reply.text(), index.to_string(), "{entry}"),
            }
        }
    }
}

#[test]
fn a_half_closed_connection_gets_every_answer_and_then_the_close() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        let mut load = Vec::new();
        for index in 0..5000 {
            load.extend(encode(&["SET", &format!("half:{index}"), "v"]));
        }
        connection.send(&load);
        connection.finish_sending();
        assert_eq!(
            connection.read_to_close(),
            b"+OK\r\n".repeat(5000),
            "{entry}"
        );
        // A command cut off by the end of input is not one.
        let mut connection = Connection::tcp(entry);
        connection.send(b"PING\r\n*2\r\n$3\r\nGET\r\n$5\r\nha");
        connection.finish_sending();
        assert_eq!(connection.read_to_close(), b"+PONG\r\n", "{entry}");
    }
}

#[test]
fn who_does_not_read_neither_grows_the_server_nor_holds_others_up() {
    let larder = Dev::start();
    let value = vec![b'v'; 1 << 20];
    assert_eq!(larder.connect().call(&[&b"SET"[..], b"big", &value]), ok());
    let before = larder.process.resident_bytes();
    // Four connections ask for 512 MB each and read nothing.
    let slow: Vec<Connection> = (0..4)
        .map(|index| {
            let entries = larder.entries();
            let mut connection = Connection::tcp(entries[index % entries.len()]);
            connection.send(&encode(&["GET", "big"]).repeat(512));
            connection
        })
        .collect();
    let mut worst = Duration::ZERO;
    for _ in 0..200 {
        let start = Instant::now();
        assert_eq!(larder.connect().ask("GET none"), Reply::Null);
        worst = worst.max(start.elapsed());
    }
    assert!(
        worst < Duration::from_secs(1),
        "another client waited {worst:?}"
    );
    let grown = larder.process.resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "the server grew by {} MB", grown >> 20);
    // Who starts to read gets what it asked for, whole and in order, or was closed; never a torn reply.
    for mut connection in slow {
        let mut whole = 0;
        let finished = connection.ask_until_close_or("ECHO end", |reply| {
            assert!(*reply == Reply::Bulk(value.clone()), "a torn reply");
            whole += 1;
        });
        assert!(
            !finished || whole == 512,
            "{whole} of 512 replies before the one that came after them"
        );
    }
}

#[test]
fn a_client_that_goes_away_in_the_middle_of_a_reply_is_forgotten() {
    let larder = Dev::start();
    let value = vec![b'v'; 1 << 20];
    assert_eq!(larder.connect().call(&[&b"SET"[..], b"big", &value]), ok());
    for _ in 0..20 {
        let mut connection = larder.connect();
        connection.send(&encode(&["GET", "big"]).repeat(50));
        connection.read();
    }
    let mut connection = larder.connect();
    wait::until("only this client is left", || {
        connection.ask("CLIENT LIST").text().lines().count() == 1
    });
}

#[test]
fn client_kill_list_and_reply_do_what_they_say() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let mut admin = Connection::tcp(entry);
        let mut victim = Connection::tcp(entry);
        assert_eq!(victim.ask("CLIENT SETNAME victim"), ok());
        let id = victim.ask("CLIENT ID").integer();
        let list = admin.ask("CLIENT LIST").text();
        let line = list
            .lines()
            .find(|line| line.contains("name=victim"))
            .unwrap_or_else(|| panic!("{list}"));
        assert!(line.contains(&format!("id={id} ")), "{line}");
        assert!(
            line.contains(&format!("addr={}", victim.local_address())),
            "{line}"
        );
        assert_eq!(
            admin.ask(&format!("CLIENT LIST ID {id}")).text().trim_end(),
            line_of(&mut admin, id)
        );

        assert_eq!(admin.ask(&format!("CLIENT KILL ID {id}")).integer(), 1);
        assert!(
            victim.closes_within(wait::PATIENCE),
            "killed by id at {entry}"
        );
        let mut victim = Connection::tcp(entry);
        victim.ask("PING");
        assert_eq!(
            admin.ask(&format!("CLIENT KILL {}", victim.local_address())),
            ok()
        );
        assert!(
            victim.closes_within(wait::PATIENCE),
            "killed by address at {entry}"
        );
        let mut victim = Connection::tcp(entry);
        victim.ask("PING");
        let killed = admin.ask(&format!(
            "CLIENT KILL ADDR {} SKIPME yes",
            victim.local_address()
        ));
        assert_eq!(killed.integer(), 1);
        assert!(
            victim.closes_within(wait::PATIENCE),
            "killed by ADDR at {entry}"
        );
        assert_eq!(
            admin
                .ask("CLIENT KILL TYPE normal SKIPME yes ID 999999999")
                .integer(),
            0
        );

        let mut quiet = Connection::tcp(entry);
        quiet.send(
            &[
                encode(&["CLIENT", "REPLY", "OFF"]),
                encode(&["PING"]),
                encode(&["FOO"]),
            ]
            .concat(),
        );
        assert_eq!(
            quiet.ask("CLIENT REPLY ON"),
            ok(),
            "OFF silences all until ON"
        );
        quiet.send(
            &[
                encode(&["CLIENT", "REPLY", "SKIP"]),
                encode(&["SET", "skipped", "1"]),
            ]
            .concat(),
        );
        assert_eq!(quiet.ask("GET skipped").text(), "1", "SKIP silences one");

        let own = admin.ask("CLIENT ID").integer();
        assert_eq!(
            admin
                .ask(&format!("CLIENT KILL ID {own} SKIPME no"))
                .integer(),
            1
        );
        assert!(
            admin.closes_within(wait::PATIENCE),
            "who kills itself gets the answer and the close"
        );
    }
}

/// What CLIENT LIST says of one client now.
fn line_of(admin: &mut Connection, id: i64) -> String {
    let list = admin.ask("CLIENT LIST").text();
    let start = format!("id={id} ");
    list.lines()
        .find(|line| line.starts_with(&start))
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn one_client_more_than_maxclients_is_told_so_and_closed() {
    let larder = Dev::with(&["--shards", "1", "--maxclients", "10"]);
    let proxy = Proxy::start(&larder, &["--maxclients", "10"]);
    for entry in [larder.proxy, proxy.resp] {
        let mut clients: Vec<Connection> = (0..10).map(|_| Connection::tcp(entry)).collect();
        for client in &mut clients {
            assert_eq!(client.ask("PING").text(), "PONG");
        }
        let told = Connection::tcp(entry).read_to_close();
        assert_eq!(told, b"-ERR max number of clients reached\r\n", "{entry}");
        clients.pop();
        wait::until("a place is free again", || {
            let mut client = Connection::tcp(entry);
            client.send_if_open(b"PING\r\n");
            client.send_if_open(b"QUIT\r\n");
            client.read_to_close() == b"+PONG\r\n+OK\r\n"
        });
    }
}

#[test]
fn an_idle_client_is_closed_after_the_timeout_and_a_busy_one_is_not() {
    let larder = Dev::with(&["--shards", "1", "--timeout", "1"]);
    let proxy = Proxy::start(&larder, &["--timeout", "1"]);
    for entry in [larder.proxy, larder.nodes[0].resp, proxy.resp] {
        let mut busy = Connection::tcp(entry);
        let mut idle = Connection::tcp(entry);
        assert_eq!(idle.ask("PING").text(), "PONG");
        let start = Instant::now();
        let watcher = thread::spawn(move || {
            idle.closes_within(Duration::from_secs(10))
                .then(|| start.elapsed())
        });
        while !watcher.is_finished() {
            assert_eq!(
                busy.ask("PING").text(),
                "PONG",
                "a busy client is closed too"
            );
            thread::sleep(Duration::from_millis(20));
        }
        let after = watcher.join().unwrap().expect("the idle client is closed");
        assert!(
            after >= Duration::from_millis(900),
            "closed after only {after:?}"
        );
        assert!(start.elapsed() > Duration::from_millis(900));
        assert_eq!(busy.ask("PING").text(), "PONG");
    }
}

#[test]
fn five_hundred_connections_at_once_are_all_served() {
    let larder = Dev::start();
    let mut clients: Vec<Connection> = (0..500).map(|_| larder.connect()).collect();
    for client in &mut clients {
        client.send(b"INCR visits\r\n");
    }
    let mut answers: Vec<i64> = clients
        .iter_mut()
        .map(|client| client.read().integer())
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, (1..=500).collect::<Vec<i64>>());
}

#[test]
fn quit_is_answered_and_then_the_connection_closes() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        connection.send(b"SET a 1\r\nQUIT\r\nSET a 2\r\n");
        assert_eq!(connection.read_to_close(), b"+OK\r\n+OK\r\n");
        assert_eq!(Connection::tcp(entry).ask("GET a").text(), "1");
    }
}

#[test]
fn wait_counts_replicas_and_comes_after_what_was_sent_before_it() {
    let larder = Dev::start();
    for entry in larder.entries() {
        let mut connection = Connection::tcp(entry);
        for (command, answer) in [
            ("WAIT 0 0", Reply::Integer(0)),
            ("WAIT -1 0", Reply::Integer(0)),
            ("WAIT 1 20", Reply::Integer(0)),
            (
                "WAIT x 1",
                Reply::Error("ERR value is not an integer or out of range".into()),
            ),
            (
                "WAIT 1 x",
                Reply::Error("ERR timeout is not an integer or out of range".into()),
            ),
            ("WAIT 1 -1", Reply::Error("ERR timeout is negative".into())),
        ] {
            assert_eq!(connection.ask(command), answer, "{command}");
        }
        // Of a pipeline, what comes before is answered before, and what comes after is executed after.
        connection.send(b"SET a 1\r\nINCR b\r\nWAIT 1 10\r\nDEL a b\r\n");
        let replies: Vec<Reply> = (0..4).map(|_| connection.read()).collect();
        let expected = [
            ok(),
            Reply::Integer(1),
            Reply::Integer(0),
            Reply::Integer(2),
        ];
        assert_eq!(replies, expected);
    }
    // Who waits for ever and leaves is forgotten.
    let mut admin = larder.connect();
    let mut forever = larder.connect();
    forever.send(b"WAIT 1 0\r\n");
    wait::until("the client waits", || {
        admin.ask("CLIENT LIST").text().contains("cmd=wait")
    });
    drop(forever);
    wait::until("the client is forgotten", || {
        !admin.ask("CLIENT LIST").text().contains("cmd=wait")
    });
}

#[test]
fn one_byte_at_a_time_is_slow_but_served() {
    let larder = Dev::start();
    let connection = larder.connect();
    let mut writer = connection.writer();
    let load = encode(&["SET", "trickle", "value"]).repeat(20);
    let sender = thread::spawn(move || {
        for byte in load {
            writer.write_all(&[byte]).unwrap();
        }
    });
    let mut connection = connection;
    for _ in 0..20 {
        assert_eq!(connection.read(), ok());
    }
    sender.join().unwrap();
}
