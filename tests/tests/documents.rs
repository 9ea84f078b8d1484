//! Documents that follow from the code: the commands from their table, the settings from what the programs say of
//! themselves, and the README's example from the client's documentation, whose examples are compiled.
//!
//! `LARDER_REWRITE=1` writes `docs/COMMANDS.md` anew instead of comparing it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fmt::Write;
use std::time::Duration;

use larder_proto::command::{COMMANDS, Command, Group, Route};
use larder_tests::dev::Dev;
use larder_tests::process::program;
use larder_tests::{tool, tree};

const DOCUMENT: &str = "docs/COMMANDS.md";
/// What is written by hand, with a place for the tables.
const TEMPLATE: &str = "tests/documents/commands.md";
const PLACE: &str = "<!-- tables -->\n";

const GROUPS: [Group; 7] = [
    Group::String,
    Group::Generic,
    Group::Load,
    Group::Limit,
    Group::Connection,
    Group::Server,
    Group::Cluster,
];

fn title(group: Group) -> &'static str {
    match group {
        Group::String => "Strings",
        Group::Generic => "Keys",
        Group::Load => "Loading",
        Group::Limit => "Rate limits",
        Group::Connection => "Connections",
        Group::Server => "Server",
        Group::Cluster => "Cluster",
    }
}

fn destination(route: Route) -> &'static str {
    match route {
        Route::Session => "listener",
        Route::Slot | Route::SlotNumber => "slot",
        Route::Split(_) => "split",
        Route::Every(_) => "every shard",
        Route::Scan => "shard by shard",
        Route::Random => "any shard",
    }
}

fn row(command: &Command) -> String {
    let name = command.name.to_uppercase().replace('|', " ");
    let least = command.arity.unsigned_abs();
    let more = if command.arity < 0 { "+" } else { "" };
    format!(
        "| `{name}` | {least}{more} | {} | {} | {} | {} |\n",
        destination(command.route),
        command.since,
        command.complexity.replace('*', "\\*"),
        command.summary,
    )
}

fn tables() -> String {
    let mut tables = String::new();
    for group in GROUPS {
        let title = title(group);
        let _ = write!(
            tables,
            "## {title}\n\n| command | arguments | goes to | since | complexity | what it does |\n|---|---|---|---|---|---|\n"
        );
        let rows = COMMANDS.iter().filter(|command| command.group == group);
        tables.extend(rows.map(row));
        tables.push('\n');
    }
    tables
}

#[test]
fn the_document_of_commands_is_what_their_table_says() {
    let template = tree::text(TEMPLATE);
    assert!(template.contains(PLACE), "{TEMPLATE} has no {PLACE}");
    let wanted = template.replace(PLACE, &tables());
    for command in COMMANDS {
        assert!(wanted.contains(&row(command)), "{}", command.name);
    }
    let path = tree::root().join(DOCUMENT);
    if std::env::var_os("LARDER_REWRITE").is_some() {
        return std::fs::write(path, wanted).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let differs = wanted
        .lines()
        .zip(written.lines())
        .find(|(wanted, written)| wanted != written);
    assert!(
        written == wanted,
        "{DOCUMENT} is out of date: run this test with LARDER_REWRITE=1. First difference: {differs:?}"
    );
}

/// A flag as `--help` shows it: its name, and its default if it has one.
fn flags(program_name: &str, arguments: &[&str]) -> Vec<(String, Option<String>)> {
    let mut command = program(program_name);
    command.args(arguments).arg("--help");
    let help = tool::run(&mut command, b"", Duration::from_secs(10)).stdout;
    // A flag's paragraph begins with its name; what is wrapped stands further to the right.
    let paragraphs = help.split("\n      --").skip(1);
    let flags: Vec<_> = paragraphs
        .map(|paragraph| {
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            let text = words.join(" ");
            let value = text.split_once("[default: ").map(|(_, rest)| rest);
            let value = value.and_then(|rest| rest.split(']').next());
            (words[0].to_owned(), value.map(str::to_owned))
        })
        .collect();
    assert!(flags.len() > 5, "{help}");
    flags
}

#[test]
fn every_setting_is_documented_with_its_default() {
    let text = tree::text("docs/SETTINGS.md");
    let mut missing = Vec::new();
    let programs: [(&str, &[&str]); 3] = [
        ("larder-node", &["dev"]),
        ("larder-node", &["serve"]),
        ("larder-proxy", &[]),
    ];
    for (name, arguments) in programs {
        for (flag, default) in flags(name, arguments) {
            let variable = format!("`LARDER_{}`", flag.to_uppercase().replace('-', "_"));
            let begin = format!("| `--{flag}");
            // As many threads as there are cores: nothing that a document could say as a number.
            let default = default.filter(|_| flag != "threads");
            let is_documented = text.lines().any(|line| {
                line.starts_with(&begin)
                    && line.contains(&variable)
                    && default
                        .as_ref()
                        .is_none_or(|value| line.contains(&format!("`{value}`")))
            });
            if !is_documented {
                missing.push(format!("{name} --{flag}, {variable}, default {default:?}"));
            }
        }
    }
    assert!(
        missing.is_empty(),
        "docs/SETTINGS.md lacks a row for:\n{}",
        missing.join("\n")
    );
}

#[test]
fn every_config_parameter_is_documented() {
    let text = tree::text("docs/SETTINGS.md");
    let larder = Dev::with(&["--shards", "1"]);
    let node = larder.nodes[0].resp;
    let told = larder_tests::raw::Connection::tcp(node).ask("CONFIG GET *");
    let names = told.items().iter().step_by(2);
    let missing: Vec<String> = names
        .map(larder_tests::reply::Reply::text)
        .filter(|name| !text.contains(&format!("\n| `{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/SETTINGS.md lacks {missing:?}");
}

#[test]
fn every_metric_is_documented_as_it_explains_itself() {
    let text = tree::text("docs/METRICS.md");
    let larder = Dev::with(&["--shards", "1", "--replicas", "1", "--admin-port", "0"]);
    let page = tool::http_get(larder.admin(), "/metrics");
    let told = page
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let (mut known, mut missing) = (0, Vec::new());
    for (name, help) in told {
        known += 1;
        let row = |line: &str| {
            line.starts_with(&format!("| `{name}` |")) && line.ends_with(&format!("| {help} |"))
        };
        if !text.lines().any(row) {
            missing.push(format!("{name}: {help}"));
        }
    }
    assert!(known > 20 && missing.is_empty(), "{missing:#?} of {known}");
}

/// The lines of the README's example are those of the example in the client's documentation, in the same order.
#[test]
fn the_readme_example_is_one_that_is_compiled() {
    let readme = tree::text("README.md");
    let example = readme
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the README has an example in Rust");
    let documented = tree::text("client/src/lib.rs");
    let mut compiled = documented
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| line.trim().trim_start_matches("# ").trim());
    for line in example
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        assert!(
            compiled.any(|known| known == line),
            "`{line}` is not in the example of client/src/lib.rs, or not in this order"
        );
    }
}
