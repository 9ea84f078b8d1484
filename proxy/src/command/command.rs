//! COMMAND: the table, told to clients.

use larder_proto::{
    command::{COMMANDS, Command, Flags, KeyPositions},
    glob,
    resp::Output,
};

use super::{Answer, Call, Flow, SYNTAX};

pub(super) fn all(call: &mut Call<'_>) -> Answer {
    if call.args.len() > 1 {
        return super::container::unknown_subcommand(call);
    }
    describe_all(&mut call.session.out);
    Ok(Flow::Continue)
}

fn describe_all(out: &mut Output) {
    out.array(top_level().count());
    top_level().for_each(|command| describe(command, out));
}

pub(super) fn count(call: &mut Call<'_>) -> Answer {
    call.session
        .out
        .integer(i64::try_from(top_level().count()).unwrap_or(i64::MAX));
    Ok(Flow::Continue)
}

pub(super) fn info(call: &mut Call<'_>) -> Answer {
    if call.args.len() == 2 {
        describe_all(&mut call.session.out);
        return Ok(Flow::Continue);
    }
    let names = call.args.from(2);
    call.session.out.array(names.len());
    for name in names.iter() {
        match Command::named(name) {
            Some(command) => describe(command, &mut call.session.out),
            None => call.session.out.null(),
        }
    }
    Ok(Flow::Continue)
}

pub(super) fn docs(call: &mut Call<'_>) -> Answer {
    let commands: Vec<_> = match call.args.len() {
        2 => top_level().collect(),
        _ => call
            .args
            .from(2)
            .iter()
            .filter_map(Command::named)
            .collect(),
    };
    call.session.out.map(commands.len());
    commands
        .into_iter()
        .for_each(|command| document(command, &mut call.session.out));
    Ok(Flow::Continue)
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let by_pattern = match call.args.len() {
        2 => None,
        5 if call.is(2, "FILTERBY") && call.is(3, "PATTERN") => {
            Some(call.args[4].to_ascii_lowercase())
        }
        5 if call.is(2, "FILTERBY") => {
            return Err("ERR COMMAND LIST filters by PATTERN only: there are no modules and no ACL categories".into());
        }
        _ => return Err(SYNTAX.into()),
    };
    let wanted = |name: &&str| {
        by_pattern
            .as_ref()
            .is_none_or(|pattern| glob::matches(pattern, name.as_bytes()))
    };
    let names: Vec<&str> = top_level()
        .map(|command| command.name)
        .filter(wanted)
        .collect();
    call.session.out.array(names.len());
    names
        .into_iter()
        .for_each(|name| call.session.out.bulk(name.as_bytes()));
    Ok(Flow::Continue)
}

pub(super) fn getkeys(call: &mut Call<'_>) -> Answer {
    let args = call.args.from(2);
    let command = Command::of(args).map_err(|refusal| match refusal {
        larder_proto::command::Refusal::Unknown => "ERR Invalid command specified".to_owned(),
        larder_proto::command::Refusal::Arity(_) => {
            "ERR Invalid number of arguments specified for command".to_owned()
        }
    })?;
    let keys: Vec<usize> = command.key_indices(args.len()).collect();
    if keys.is_empty() {
        return Err("ERR The command has no key arguments".into());
    }
    call.session.out.array(keys.len());
    keys.into_iter()
        .for_each(|index| call.session.out.bulk(&args[index]));
    Ok(Flow::Continue)
}

fn top_level() -> impl Iterator<Item = &'static Command> {
    COMMANDS
        .iter()
        .filter(|command| command.container().is_none())
}

/// The ten elements of COMMAND INFO.
fn describe(command: &Command, out: &mut Output) {
    let KeyPositions { first, last, step } = command.keys;
    out.array(10);
    out.bulk(command.name.as_bytes());
    out.integer(i64::from(command.arity));
    let flags: Vec<_> = command.flags.names().collect();
    out.set(flags.len());
    flags.into_iter().for_each(|flag| out.simple(flag));
    [first, last, step]
        .into_iter()
        .for_each(|number| out.integer(i64::from(number)));
    let categories = categories(command);
    out.set(categories.len());
    categories.iter().for_each(|category| out.simple(category));
    out.array(0);
    key_specifications(command, out);
    let subcommands: Vec<_> = if command.is_container() {
        command.subcommands().collect()
    } else {
        Vec::new()
    };
    out.array(subcommands.len());
    subcommands
        .into_iter()
        .for_each(|subcommand| describe(subcommand, out));
}

/// ACL categories, which follow from the flags and the group.
fn categories(command: &Command) -> Vec<String> {
    let has = |flag| command.flags.contains(flag);
    let group = match command.group.name() {
        "generic" => "keyspace",
        "server" | "cluster" => "",
        other => other,
    };
    let named = [
        (group == "keyspace", "@keyspace"),
        (has(Flags::READONLY), "@read"),
        (has(Flags::WRITE), "@write"),
        (group == "string", "@string"),
        (has(Flags::ADMIN), "@admin"),
        (has(Flags::FAST), "@fast"),
        (!has(Flags::FAST), "@slow"),
        (
            has(Flags::ADMIN) || matches!(command.name, "keys" | "flushall" | "flushdb"),
            "@dangerous",
        ),
        (group == "connection", "@connection"),
    ];
    named
        .into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Where the keys are, in the form that came with Redis 7.
fn key_specifications(command: &Command, out: &mut Output) {
    let KeyPositions { first, last, step } = command.keys;
    if first == 0 {
        return out.array(0);
    }
    out.array(1);
    out.map(3);
    out.bulk(b"flags");
    let flags: &[&str] = if command.flags.contains(Flags::WRITE) {
        &["RW", "access", "update"]
    } else {
        &["RO", "access"]
    };
    out.set(flags.len());
    flags.iter().for_each(|flag| out.simple(flag));
    out.bulk(b"begin_search");
    specification(out, "index", &[("index", i64::from(first))]);
    out.bulk(b"find_keys");
    let last = if last < 0 { last } else { last - first };
    specification(
        out,
        "range",
        &[
            ("lastkey", i64::from(last)),
            ("keystep", i64::from(step)),
            ("limit", 0),
        ],
    );
}

fn specification(out: &mut Output, kind: &str, fields: &[(&str, i64)]) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(kind.as_bytes());
    out.bulk(b"spec");
    out.map(fields.len());
    for (name, number) in fields {
        out.bulk(name.as_bytes());
        out.integer(*number);
    }
}

fn document(command: &Command, out: &mut Output) {
    let subcommands: Vec<_> = if command.is_container() {
        command.subcommands().collect()
    } else {
        Vec::new()
    };
    out.bulk(command.name.as_bytes());
    out.map(4 + usize::from(!subcommands.is_empty()));
    for (name, text) in [
        ("summary", command.summary),
        ("since", command.since),
        ("group", command.group.name()),
        ("complexity", command.complexity),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(text.as_bytes());
    }
    if !subcommands.is_empty() {
        out.bulk(b"subcommands");
        out.map(subcommands.len());
        subcommands
            .into_iter()
            .for_each(|subcommand| document(subcommand, out));
    }
}
