//! SLOWLOG.

use larder_proto::resp::integer;

use super::{Answer, Call, Flow};

/// Entries that SLOWLOG GET returns unless asked for another number.
const ENTRIES: usize = 10;

pub(super) fn get(call: &mut Call<'_>) -> Answer {
    let count = match call.args.len() {
        2 => ENTRIES,
        3 => match integer(&call.args[2]) {
            Some(-1) => usize::MAX,
            count => count
                .and_then(|count| usize::try_from(count).ok())
                .ok_or("ERR count should be greater than or equal to -1")?,
        },
        _ => {
            return Err(
                "ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP."
                    .into(),
            );
        }
    };
    let entries = call.session.front.slowlog.newest(count);
    let out = &mut call.session.out;
    out.array(entries.len());
    for entry in entries {
        out.array(6);
        for number in [entry.id, entry.at, entry.microseconds] {
            out.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        out.array(entry.arguments.len());
        entry
            .arguments
            .iter()
            .for_each(|argument| out.bulk(argument));
        out.bulk(entry.address.as_bytes());
        out.bulk(entry.client_name.as_bytes());
    }
    Ok(Flow::Continue)
}

pub(super) fn len(call: &mut Call<'_>) -> Answer {
    let entries = call.session.front.slowlog.len();
    call.session
        .out
        .integer(i64::try_from(entries).unwrap_or(i64::MAX));
    Ok(Flow::Continue)
}

pub(super) fn reset(call: &mut Call<'_>) -> Answer {
    call.session.front.slowlog.clear();
    call.session.out.ok();
    Ok(Flow::Continue)
}
