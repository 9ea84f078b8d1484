//! KEYS, SCAN, RANDOMKEY, DBSIZE and CLUSTER's questions about slots: on this node's keys alone. The front end asks
//! every node and joins the answers.

use larder_proto::Slot;
use larder_proto::resp::{Args, Output, integer};

use crate::engine::{Entry, ScanCursor};

use super::value::length;
use super::{Call, CommandError};
use larder_proto::glob;

pub(super) fn dbsize(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.everywhere(|engine, out| length(out, engine.len()))
}

pub(super) fn randomkey(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (access, now) = (call.access, call.now);
    call.everywhere(|engine, out| match engine.random_key(access, now) {
        Some(key) => out.bulk(&key),
        None => out.null(),
    })
}

pub(super) fn keys(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (pattern, access, now) = (call.arg(1), call.access, call.now);
    call.everywhere(|engine, out| {
        let mut found = Found::new(out);
        engine.each_key(access, now, &mut |entry| {
            if glob::matches(pattern, entry.key()) {
                found.push(entry);
            }
        });
        found.reply(out);
    })
}

pub(super) fn scan(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cursor = read_cursor(call.arg(1))?;
    let filter = Filter::read(call.args.from(2))?;
    let (access, now) = (call.access, call.now);
    call.everywhere(|engine, out| {
        let mut found = Found::new(out);
        let next = engine.scan(cursor, filter.count, access, now, &mut |entry| {
            if filter.admits(entry) {
                found.push(entry);
            }
        });
        out.array(2);
        out.bulk(itoa::Buffer::new().format(next.0).as_bytes());
        found.reply(out);
    })
}

pub(super) fn countkeysinslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    let slot = read_slot(call.integer(2)?).ok_or(CommandError::InvalidSlot)?;
    call.locked_slot(slot, |stripe, out| {
        length(out, stripe.count_in_slot(slot));
        Ok(())
    })
}

pub(super) fn getkeysinslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (slot, count) = (call.integer(2)?, call.integer(3)?);
    let slot = read_slot(slot).ok_or(CommandError::InvalidSlotOrCount)?;
    let count = usize::try_from(count).map_err(|_| CommandError::InvalidSlotOrCount)?;
    call.locked_slot(slot, |stripe, out| {
        let mut found = Found::new(out);
        stripe.each_in_slot(slot, count, &mut |entry| found.push(entry));
        found.reply(out);
        Ok(())
    })
}

fn read_cursor(text: &[u8]) -> Result<ScanCursor, CommandError> {
    let digits = text.first().is_some_and(u8::is_ascii_digit);
    std::str::from_utf8(text)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .map(ScanCursor)
        .ok_or(CommandError::InvalidCursor)
}

fn read_slot(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}

/// What SCAN shows.
#[derive(Debug)]
struct Filter<'a> {
    pattern: Option<&'a [u8]>,
    /// Name of a type, of any case.
    kind: Option<&'a [u8]>,
    /// How many entries to look at.
    count: usize,
}

impl<'a> Filter<'a> {
    fn read(options: Args<'a>) -> Result<Filter<'a>, CommandError> {
        let mut filter = Filter {
            pattern: None,
            kind: None,
            count: 10,
        };
        let mut options = options.iter();
        while let Some(word) = options.next() {
            let value = options.next().ok_or(CommandError::Syntax)?;
            if word.eq_ignore_ascii_case(b"COUNT") {
                filter.count = read_count(value)?;
            } else if word.eq_ignore_ascii_case(b"MATCH") {
                filter.pattern = Some(value);
            } else if word.eq_ignore_ascii_case(b"TYPE") {
                filter.kind = Some(value);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(filter)
    }

    fn admits(&self, entry: &Entry<'_>) -> bool {
        let type_name = entry.type_name().as_bytes();
        self.kind
            .is_none_or(|kind| kind.eq_ignore_ascii_case(type_name))
            && self
                .pattern
                .is_none_or(|pattern| glob::matches(pattern, entry.key()))
    }
}

fn read_count(text: &[u8]) -> Result<usize, CommandError> {
    let count = integer(text).ok_or(CommandError::NotInteger)?;
    if count < 1 {
        return Err(CommandError::Syntax);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Keys for an array whose length is not yet known.
struct Found {
    keys: Output,
    count: usize,
}

impl Found {
    fn new(out: &Output) -> Found {
        Found {
            keys: Output::new(out.protocol()),
            count: 0,
        }
    }

    fn push(&mut self, entry: &Entry<'_>) {
        self.keys.bulk(entry.key());
        self.count += 1;
    }

    fn reply(mut self, out: &mut Output) {
        out.array(self.count);
        out.append(self.keys.take());
    }
}
