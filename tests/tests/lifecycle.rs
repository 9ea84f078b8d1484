//! Starting and stopping: the screen, the settings and their order, refusals with exit code 2, and the drain.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use larder_tests::dev::{self, Dev};
use larder_tests::process::{Process, program};
use larder_tests::proxy::Proxy;
use larder_tests::raw::{Connection, encode};
use larder_tests::reply::Reply;
use larder_tests::tool::run;
use larder_tests::wait::PATIENCE;
use tempfile::TempDir;

/// Runs a command that must be refused: exit code 2, nothing on stdout, one line on stderr that names `culprit`.
#[track_caller]
fn assert_refused(command: &mut Command, culprit: &str) {
    let finished = run(command, b"", PATIENCE);
    assert_eq!(finished.code, Some(2), "{command:?}: {finished:#?}");
    assert_eq!(finished.stdout, "", "{command:?}");
    let lines: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(
        lines.len(),
        1,
        "{command:?} should print one line: {finished:#?}"
    );
    assert!(
        lines[0].contains(culprit),
        "{command:?} should name {culprit}: {}",
        lines[0]
    );
}

#[test]
fn a_wrong_flag_or_value_is_refused_in_one_line_that_names_it() {
    for (flags, culprit) in [
        (&["--shards", "0"][..], "shards"),
        (&["--shards", "many"], "many"),
        (&["--shards", "-1"], "-1"),
        (&["--shards", "100000"], "shards"),
        (&["--memory", "lots"], "lots"),
        (&["--memory", "1kb"], "1kb"),
        (&["--memory", "0"], "memory"),
        (&["--memory", "-1"], "-1"),
        (&["--memory", "8mb", "--shards", "64"], "memory"),
        (&["--replicas", "9"], "replicas"),
        (&["--heartbeat-ms", "200"], "--lease-ms"),
        (&["--grace-ms", "250"], "--grace-ms"),
        (&["--ack", "nobody"], "nobody"),
        (&["--log-memory", "1kb"], "--log-memory"),
        (&["--admin-port", "http"], "http"),
        (&["--port", "70000"], "70000"),
        (&["--port", "-1"], "-1"),
        (&["--port", "http"], "http"),
        (&["--threads", "0"], "threads"),
        (&["--maxclients", "0"], "maxclients"),
        (&["--timeout", "soon"], "soon"),
        (&["--bind", "nowhere"], "nowhere"),
        (&["--bind", "0.0.0.0"], "0.0.0.0"),
        (&["--bind", "0.0.0.0", "--requirepass", ""], "0.0.0.0"),
        (&["--config", "no-such-file.toml"], "no-such-file.toml"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["surprise"], "surprise"),
        (&["--shards"], "--shards"),
    ] {
        assert_refused(
            dev::command()
                .args(["--port", "0"])
                .args(flags)
                .env_remove("LARDER_PORT"),
            culprit,
        );
    }
}

#[test]
fn a_wrong_setting_in_the_environment_or_the_file_is_refused_in_one_line_that_names_it() {
    assert_refused(
        dev::command()
            .args(["--port", "0"])
            .env("LARDER_SHARDS", "several"),
        "several",
    );
    assert_refused(
        dev::command()
            .args(["--port", "0"])
            .env("LARDER_MEMORY", "1kb"),
        "1kb",
    );
    let folder = TempDir::new().unwrap();
    for (text, culprit) in [
        ("shards = \"several\"\n", "shards"),
        ("no_such_setting = 1\n", "no_such_setting"),
        ("shards = \n", "larder.toml"),
        ("memory = \"1kb\"\n", "memory"),
    ] {
        let file = folder.path().join("larder.toml");
        std::fs::write(&file, text).unwrap();
        assert_refused(
            dev::command().args(["--port", "0", "--config"]).arg(&file),
            culprit,
        );
    }
}

#[test]
fn a_wrong_flag_of_the_proxy_is_refused_in_one_line_that_names_it() {
    for (flags, culprit) in [
        (&["--port", "0"][..], "seeds"),
        (&["--seeds", "", "--port", "0"], "seeds"),
        (&["--seeds", "nowhere", "--port", "0"], "nowhere"),
        (&["--seeds", "127.0.0.1:1", "--port", "99999"], "99999"),
        (
            &["--seeds", "127.0.0.1:1", "--port", "0", "--bind", "0.0.0.0"],
            "0.0.0.0",
        ),
        (
            &["--seeds", "127.0.0.1:1", "--port", "0", "--threads", "0"],
            "threads",
        ),
        (
            &["--seeds", "127.0.0.1:1", "--no-such-flag"],
            "--no-such-flag",
        ),
    ] {
        assert_refused(program("larder-proxy").args(flags), culprit);
    }
}

#[test]
fn a_port_in_use_is_refused_in_one_line_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_refused(dev::command().args(["--port", &port]), &port);
    let larder = Dev::with(&["--shards", "1"]);
    let seeds = larder.seeds();
    assert_refused(
        program("larder-proxy").args(["--seeds", &seeds, "--port", &port]),
        &port,
    );
}

#[test]
fn a_proxy_of_another_cluster_is_refused_in_one_line_that_names_both() {
    let larder = Dev::with(&["--shards", "1"]);
    let seeds = larder.seeds();
    let start = ["--seeds", &seeds, "--port", "0", "--cluster", "other"];
    assert_refused(
        program("larder-proxy").args(start),
        "this node is in cluster 'dev', not 'other'",
    );
}

#[test]
fn help_and_version_are_asked_for_and_so_no_error() {
    for name in ["larder-node", "larder-proxy"] {
        for flag in ["--help", "--version"] {
            let finished = run(program(name).arg(flag), b"", PATIENCE);
            assert_eq!(finished.code, Some(0), "{name} {flag}: {finished:#?}");
            assert!(
                finished.stdout.contains("larder"),
                "{name} {flag}: {finished:#?}"
            );
        }
    }
    let help = run(dev::command().arg("--help"), b"", PATIENCE).stdout;
    for setting in [
        "shards",
        "replicas",
        "port",
        "memory",
        "threads",
        "bind",
        "requirepass",
        "maxclients",
        "timeout",
        "config",
    ] {
        assert!(help.contains(&format!("--{setting}")), "{setting}: {help}");
    }
}

#[test]
fn the_screen_says_what_is_where_and_a_line_to_try() {
    let larder = Dev::with(&["--shards", "3", "--memory", "200mb", "--threads", "1"]);
    let screen = larder.process.stdout();
    assert!(screen[0].starts_with("larder "), "{screen:#?}");
    assert!(
        screen[0].ends_with("dev: 3 shards, 3 nodes, 200mb of memory, 1 thread"),
        "{screen:#?}"
    );
    assert_eq!(larder.nodes.len(), 3, "{screen:#?}");
    let names: Vec<&str> = larder.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["shard-0", "shard-1", "shard-2"]);
    let line = screen
        .iter()
        .find_map(|line| line.strip_prefix("try: "))
        .expect("a line to try");
    assert!(
        line.contains(&format!("-p {}", larder.proxy.port())),
        "{line}"
    );
    let finished = run(Command::new("sh").args(["-c", line]), b"", PATIENCE);
    assert_eq!(finished.stdout, "OK\n", "{line}: {finished:#?}");
    assert_eq!(
        larder.process.stderr(),
        Vec::<String>::new(),
        "nothing to complain about"
    );
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("larder.toml");
    std::fs::write(
        &file,
        "shards = 4\nreplicas = 0\nmemory = \"300mb\"\nmaxclients = 77\n",
    )
    .unwrap();
    let start = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = dev::command();
        command
            .args(["--port", "0"])
            .args(flags)
            .envs(variables.iter().copied());
        Dev::from_command(&mut command)
    };
    let config = file.to_str().unwrap();
    let by_file = start(&["--config", config], &[]);
    assert_eq!(by_file.nodes.len(), 4);
    assert!(
        by_file.process.stdout()[0].contains("300mb"),
        "{:?}",
        by_file.process.stdout()
    );
    let limit = by_file.connect().ask("CONFIG GET maxclients");
    assert_eq!(limit.items()[1].text(), "77");
    let by_environment = start(&[], &[("LARDER_CONFIG", config), ("LARDER_SHARDS", "2")]);
    assert_eq!(by_environment.nodes.len(), 2);
    assert!(
        by_environment.process.stdout()[0].contains("300mb"),
        "the file still says the rest"
    );
    let by_flag = start(
        &["--config", config, "--shards", "1"],
        &[("LARDER_SHARDS", "2")],
    );
    assert_eq!(by_flag.nodes.len(), 1);
}

#[test]
fn an_address_beyond_loopback_is_served_when_a_password_is_set() {
    let larder = Dev::with(&[
        "--shards",
        "1",
        "--bind",
        "0.0.0.0",
        "--requirepass",
        "secret",
    ]);
    let mut connection = Connection::tcp(([127, 0, 0, 1], larder.proxy.port()).into());
    assert!(connection.ask("GET a").text().starts_with("NOAUTH"));
    assert_eq!(connection.ask("AUTH secret").text(), "OK");
}

#[test]
fn both_signals_end_an_idle_process_with_code_0() {
    for signal in ["INT", "TERM"] {
        let mut larder = Dev::start();
        let mut proxy = Proxy::start(&larder, &[]);
        let mut idle = vec![
            larder.connect(),
            Connection::tcp(larder.nodes[0].resp),
            proxy.connect(),
        ];
        for connection in &mut idle {
            assert_eq!(connection.ask("SET a 1").text(), "OK");
        }
        proxy.process.signal(signal);
        assert_eq!(
            proxy.process.wait_exit(Duration::from_secs(10)).code(),
            Some(0),
            "larder-proxy, {signal}"
        );
        larder.process.signal(signal);
        assert_eq!(
            larder.process.wait_exit(Duration::from_secs(10)).code(),
            Some(0),
            "larder-node, {signal}"
        );
        for connection in &mut idle {
            assert!(
                connection.closes_within(PATIENCE),
                "an idle client is closed"
            );
        }
    }
}

/// Sends counting commands, a signal in the middle of them, and returns how many were answered.
fn answered_over_a_drain(connection: &mut Connection, process: &Process) -> i64 {
    let writer = connection.writer();
    let load = encode(&["INCR", "drained"]).repeat(20_000);
    let sender = std::thread::spawn(move || {
        // Ends with an error when the server has closed: what it has not read, it need not answer.
        let _ = std::io::Write::write_all(&mut &writer, &load);
    });
    assert_eq!(connection.read().integer(), 1, "the load is on its way");
    process.signal("TERM");
    let rest = connection.read_to_close();
    sender.join().unwrap();
    let mut count = 1;
    let mut bytes = rest.as_slice();
    while !bytes.is_empty() {
        let (reply, length) = Reply::parse(bytes).expect("the last reply is whole too");
        count += 1;
        assert_eq!(reply.integer(), count, "in order");
        bytes = &bytes[length..];
    }
    count
}

#[test]
fn a_proxy_that_is_told_to_stop_answers_everything_it_has_executed() {
    let larder = Dev::start();
    let mut proxy = Proxy::start(&larder, &[]);
    let answered = answered_over_a_drain(&mut proxy.connect(), &proxy.process);
    assert_eq!(
        proxy.process.wait_exit(Duration::from_secs(10)).code(),
        Some(0)
    );
    let executed: i64 = larder.connect().ask("GET drained").text().parse().unwrap();
    assert_eq!(answered, executed, "answered and executed");
}

#[test]
fn a_cluster_that_is_told_to_stop_answers_whole_replies_and_ends_with_code_0() {
    let mut larder = Dev::start();
    let mut connection = larder.connect();
    answered_over_a_drain(&mut connection, &larder.process);
    assert_eq!(
        larder.process.wait_exit(Duration::from_secs(10)).code(),
        Some(0)
    );
    assert!(
        std::net::TcpStream::connect(larder.proxy).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn a_client_that_never_reads_does_not_hold_up_the_drain() {
    let mut larder = Dev::start();
    let value = vec![b'v'; 1 << 20];
    larder.connect().call(&[&b"SET"[..], b"big", &value]);
    let mut stuck = larder.connect();
    stuck.send(&encode(&["GET", "big"]).repeat(100));
    larder.process.signal("TERM");
    assert_eq!(
        larder.process.wait_exit(Duration::from_secs(20)).code(),
        Some(0)
    );
}

#[test]
fn a_port_serves_again_right_after_the_end_of_who_had_it() {
    let larder = Dev::with(&["--shards", "1"]);
    let mut first = Proxy::start(&larder, &[]);
    let mut connection = first.connect();
    assert_eq!(connection.ask("PING").text(), "PONG");
    first.process.signal("TERM");
    first.process.wait_exit(Duration::from_secs(10));
    // The first one closed the connection, so the system remembers the port for a while.
    assert!(connection.closes_within(PATIENCE));
    let port = first.resp.port().to_string();
    let second = Proxy::start(&larder, &["--port", &port]);
    assert_eq!(second.resp, first.resp);
    assert_eq!(second.connect().ask("PING").text(), "PONG");
}
