//! The commands that a test node knows.

use std::collections::HashMap;

use bytes::Bytes;
use larder_client::proto::resp::Output;

type Data = HashMap<Vec<u8>, (Bytes, u64)>;

/// Executes a command and writes its reply.
pub(super) fn execute(data: &mut Data, args: &[Vec<u8>], out: &mut Output) {
    let name = args[0].to_ascii_lowercase();
    match &name[..] {
        b"get" => value(data.get(&args[1]), out),
        b"set" => set(data, args, out),
        b"incr" => incr(data, &args[1], out),
        b"mget" => {
            out.array(args.len() - 1);
            args[1..].iter().for_each(|key| value(data.get(key), out));
        }
        b"mset" => {
            for pair in args[1..].chunks(2) {
                put(data, &pair[0], &pair[1]);
            }
            out.ok();
        }
        b"del" => {
            let gone = args[1..].iter().filter(|key| data.remove(*key).is_some());
            out.integer(gone.count() as i64);
        }
        b"exists" => {
            let there = args[1..].iter().filter(|key| data.contains_key(*key));
            out.integer(there.count() as i64);
        }
        b"dbsize" => out.integer(data.len() as i64),
        b"flushall" => {
            data.clear();
            out.ok();
        }
        b"scan" => scan(data, &args[1], out),
        b"randomkey" => match data.keys().next() {
            Some(key) => out.bulk(key),
            None => out.null(),
        },
        b"pttl" => out.integer(-2 + i64::from(data.contains_key(&args[1]))),
        b"strlen" => out.error("WRONGTYPE Operation against a key holding the wrong kind of value"),
        _ => out.error("ERR unknown to the test node"),
    }
}

pub(super) fn put(data: &mut Data, key: &[u8], value: &[u8]) -> u64 {
    let version = data.get(key).map_or(1, |(_, version)| version + 1);
    data.insert(key.to_vec(), (Bytes::copy_from_slice(value), version));
    version
}

fn value(found: Option<&(Bytes, u64)>, out: &mut Output) {
    match found {
        Some((value, _)) => out.shared(value),
        None => out.null(),
    }
}

fn set(data: &mut Data, args: &[Vec<u8>], out: &mut Output) {
    if args.iter().any(|arg| arg == b"nx") && data.contains_key(&args[1]) {
        return out.null();
    }
    let before = data.get(&args[1]).cloned();
    put(data, &args[1], &args[2]);
    if args[3..].iter().any(|arg| arg == b"get") {
        value(before.as_ref(), out);
    } else {
        out.ok();
    }
}

fn incr(data: &mut Data, key: &[u8], out: &mut Output) {
    let before = data.get(key).map_or(0, |(value, _)| {
        std::str::from_utf8(value).unwrap().parse().unwrap()
    });
    put(data, key, (before + 1i64).to_string().as_bytes());
    out.integer(before + 1);
}

/// Two keys a page; the cursor is how many have been returned.
fn scan(data: &Data, cursor: &[u8], out: &mut Output) {
    let at: usize = std::str::from_utf8(cursor).unwrap().parse().unwrap();
    let mut keys: Vec<_> = data.keys().collect();
    keys.sort();
    let page: Vec<_> = keys.iter().skip(at).take(2).collect();
    let next = if at + page.len() < keys.len() {
        at + page.len()
    } else {
        0
    };
    out.array(2);
    out.bulk(next.to_string().as_bytes());
    out.array(page.len());
    page.iter().for_each(|key| out.bulk(key));
}
