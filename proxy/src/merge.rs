//! Making one reply of several.

use std::cmp::Reverse;

use bytes::Bytes;
use larder_proto::{
    command::Merge,
    resp::{Output, Reply, integer, reply_length},
};

use crate::batch::How;

/// A cursor of `SCAN` over the whole cluster: the shard's index in the topology and that shard's own cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) shard: usize,
    pub(crate) inner: u64,
}

/// Bits of a cluster-wide cursor that hold the shard's own. Engines' cursors fit (see `ScanCursor`).
const INNER_BITS: u32 = 48;

/// Reads a cluster-wide cursor. The first is 0.
pub(crate) fn cursor(text: &[u8]) -> Option<Cursor> {
    let number = u64::try_from(integer(text)?).ok()?;
    Some(Cursor {
        shard: (number >> INNER_BITS) as usize,
        inner: number & ((1 << INNER_BITS) - 1),
    })
}

/// The cluster-wide cursor that goes on after a page of `shard` that ended with its cursor `inner`.
fn after(shard: usize, shards: usize, inner: u64) -> u64 {
    match inner {
        0 if shard + 1 < shards => (shard as u64 + 1) << INNER_BITS,
        0 => 0,
        _ => ((shard as u64) << INNER_BITS) | inner,
    }
}

/// Writes a shard's reply to `SCAN` with the cursor made cluster-wide.
pub(crate) fn page(reply: Bytes, shard: usize, shards: usize, out: &mut Output) {
    const HEAD: &[u8] = b"*2\r\n";
    let rest = reply.strip_prefix(HEAD);
    let cursor = rest.and_then(|rest| Some((Reply::read(&reply.slice_ref(rest)).ok()?, rest)));
    match cursor {
        Some(((Reply::Bulk(text), length), rest)) if integer(&text).is_some() => {
            let inner = integer(&text).map_or(0, i64::unsigned_abs);
            out.array(2);
            out.bulk(after(shard, shards, inner).to_string().as_bytes());
            out.append(reply.slice_ref(&rest[length..]));
        }
        // An error.
        _ => out.append(reply),
    }
}

/// Writes one reply made of several. `places` says where the elements of a piece's array belong.
pub(crate) fn merge(how: How, pieces: Vec<(Bytes, Vec<usize>)>, out: &mut Output) {
    if let Some((error, _)) = pieces
        .iter()
        .find(|(reply, _)| reply.first() == Some(&b'-'))
    {
        return out.raw(error);
    }
    let written = match how {
        How::Merge(Merge::Ok) => {
            out.ok();
            true
        }
        How::Merge(Merge::Sum) => sum(&pieces).map(|sum| out.integer(sum)).is_some(),
        How::Merge(Merge::Array) => array(pieces, out).is_some(),
        How::Merge(Merge::Ranked) => ranked(pieces, out).is_some(),
        How::Pick => {
            pick(pieces, out);
            true
        }
    };
    if !written {
        out.error("ERR a shard answered with an unexpected kind of reply");
    }
}

fn sum(pieces: &[(Bytes, Vec<usize>)]) -> Option<i64> {
    pieces
        .iter()
        .try_fold(0i64, |sum, (reply, _)| match Reply::read(reply) {
            Ok((Reply::Integer(number), _)) => sum.checked_add(number),
            _ => None,
        })
}

fn pick(pieces: Vec<(Bytes, Vec<usize>)>, out: &mut Output) {
    let some: Vec<Bytes> = pieces
        .into_iter()
        .map(|(reply, _)| reply)
        .filter(|reply| !matches!(&reply[..], b"$-1\r\n" | b"_\r\n"))
        .collect();
    match some.len() {
        0 => out.null(),
        count => out.append(some[rand::random_range(0..count)].clone()),
    }
}

/// Joins arrays. The elements stay encoded as they are.
fn array(pieces: Vec<(Bytes, Vec<usize>)>, out: &mut Output) -> Option<()> {
    let mut elements = Vec::new();
    for (reply, places) in pieces {
        let parts = parts(&reply)?;
        if places.is_empty() {
            elements.extend(parts);
            continue;
        }
        if places.len() != parts.len() {
            return None;
        }
        let length = places.iter().max().map_or(0, |last| last + 1);
        if elements.len() < length {
            elements.resize(length, Bytes::new());
        }
        for (place, part) in places.into_iter().zip(parts) {
            elements[place] = part;
        }
    }
    out.array(elements.len());
    elements.into_iter().for_each(|element| out.append(element));
    Some(())
}

/// Joins arrays of arrays, those with the highest second element first. The elements stay encoded as they are.
fn ranked(pieces: Vec<(Bytes, Vec<usize>)>, out: &mut Output) -> Option<()> {
    let mut elements = Vec::new();
    for (reply, _) in pieces {
        for element in parts(&reply)? {
            let rank = match Reply::read(parts(&element)?.get(1)?) {
                Ok((Reply::Integer(rank), _)) => rank,
                _ => return None,
            };
            elements.push((rank, element));
        }
    }
    elements.sort_by_key(|(rank, _)| Reverse(*rank));
    out.array(elements.len());
    elements
        .into_iter()
        .for_each(|(_, element)| out.append(element));
    Some(())
}

/// The elements of an array, encoded.
fn parts(reply: &Bytes) -> Option<Vec<Bytes>> {
    let line = reply.iter().position(|&byte| byte == b'\r')?;
    let count = integer(reply.get(1..line)?).and_then(|count| usize::try_from(count).ok());
    let (b'*', Some(count)) = (*reply.first()?, count) else {
        return None;
    };
    let mut at = line + 2;
    let mut parts = Vec::new();
    for _ in 0..count {
        let length = reply_length(&reply[at..]).ok()??;
        parts.push(reply.slice(at..at + length));
        at += length;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(how: How, pieces: &[(&'static str, &[usize])]) -> String {
        let pieces = pieces
            .iter()
            .map(|(reply, places)| (Bytes::from_static(reply.as_bytes()), places.to_vec()));
        let mut out = Output::default();
        merge(how, pieces.collect(), &mut out);
        String::from_utf8(out.take().into()).unwrap()
    }

    #[test]
    fn replies_become_one() {
        assert_eq!(
            merged(How::Merge(Merge::Sum), &[(":2\r\n", &[]), (":3\r\n", &[])]),
            ":5\r\n"
        );
        assert_eq!(
            merged(How::Merge(Merge::Ok), &[("+OK\r\n", &[]), ("+OK\r\n", &[])]),
            "+OK\r\n"
        );
        let pieces: [(&str, &[usize]); 2] = [
            ("*2\r\n$1\r\na\r\n$-1\r\n", &[0, 2]),
            ("*1\r\n$1\r\nb\r\n", &[1]),
        ];
        assert_eq!(
            merged(How::Merge(Merge::Array), &pieces),
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$-1\r\n"
        );
        let pieces: [(&str, &[usize]); 2] = [("*1\r\n$1\r\na\r\n", &[]), ("*0\r\n", &[])];
        assert_eq!(
            merged(How::Merge(Merge::Array), &pieces),
            "*1\r\n$1\r\na\r\n"
        );
        let pieces: [(&str, &[usize]); 2] = [
            ("*2\r\n*2\r\n+a\r\n:9\r\n*2\r\n+b\r\n:1\r\n", &[]),
            ("*1\r\n*2\r\n+c\r\n:5\r\n", &[]),
        ];
        assert_eq!(
            merged(How::Merge(Merge::Ranked), &pieces),
            "*3\r\n*2\r\n+a\r\n:9\r\n*2\r\n+c\r\n:5\r\n*2\r\n+b\r\n:1\r\n"
        );
        assert_eq!(
            merged(How::Pick, &[("$-1\r\n", &[]), ("$1\r\na\r\n", &[])]),
            "$1\r\na\r\n"
        );
        assert_eq!(
            merged(How::Pick, &[("$-1\r\n", &[]), ("_\r\n", &[])]),
            "$-1\r\n"
        );
    }

    #[test]
    fn an_error_of_one_is_the_error_of_all() {
        assert_eq!(
            merged(
                How::Merge(Merge::Sum),
                &[(":2\r\n", &[]), ("-OOM no\r\n", &[])]
            ),
            "-OOM no\r\n"
        );
        assert!(merged(How::Merge(Merge::Sum), &[("+odd\r\n", &[])]).starts_with("-ERR"));
    }

    #[test]
    fn a_scan_goes_from_shard_to_shard() {
        let paged = |inner: &str, shard: usize| {
            let reply = Bytes::from(format!(
                "*2\r\n${}\r\n{inner}\r\n*1\r\n$1\r\na\r\n",
                inner.len()
            ));
            let mut out = Output::default();
            page(reply, shard, 3, &mut out);
            let (reply, _) = Reply::read(&out.take()).unwrap();
            let Reply::Array(parts) = reply else {
                panic!("no array")
            };
            let Reply::Bulk(text) = &parts[0] else {
                panic!("no cursor")
            };
            cursor(text)
        };
        assert_eq!(paged("7", 1), Some(Cursor { shard: 1, inner: 7 }));
        assert_eq!(paged("0", 1), Some(Cursor { shard: 2, inner: 0 }));
        assert_eq!(paged("0", 2), Some(Cursor { shard: 0, inner: 0 }));
        let mut out = Output::default();
        page(
            Bytes::from_static(b"-ERR invalid cursor\r\n"),
            0,
            3,
            &mut out,
        );
        assert_eq!(&out.take()[..], b"-ERR invalid cursor\r\n");
    }

    #[test]
    fn a_cursor_is_a_number() {
        for text in ["", "x", "-1", "1.5", "99999999999999999999"] {
            assert_eq!(cursor(text.as_bytes()), None, "{text}");
        }
    }
}
