//! The rules of the house, held to the tree: documents name what exists, files stay small, the engine stays pure.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use larder_tests::tree;

/// Lines a Rust file may have before it is to be divided.
const RUST_LINES_MAX: usize = 500;
/// Bytes a file of the repository may have.
const FILE_BYTES_MAX: u64 = 1 << 20;

fn rust_files() -> Vec<PathBuf> {
    let files: Vec<PathBuf> = tree::files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .collect();
    assert!(files.len() > 10, "only {files:?}");
    files
}

#[track_caller]
fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

#[test]
fn no_rust_file_is_over_its_line_budget() {
    let over: Vec<String> = rust_files()
        .iter()
        .map(|file| (file, tree::text(file).lines().count()))
        .filter(|(_, lines)| *lines > RUST_LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines}", file.display()))
        .collect();
    assert_none(
        &over,
        &format!("a Rust file has at most {RUST_LINES_MAX} lines"),
    );
}

#[test]
fn no_file_is_over_a_mebibyte() {
    let over: Vec<String> = tree::files()
        .iter()
        .map(|file| (file, tree::root().join(file).metadata().unwrap().len()))
        .filter(|(_, bytes)| *bytes > FILE_BYTES_MAX)
        .map(|(file, bytes)| format!("{}: {bytes}", file.display()))
        .collect();
    assert_none(&over, &format!("a file has at most {FILE_BYTES_MAX} bytes"));
}

#[test]
fn the_engine_never_awaits_and_never_reads_a_clock() {
    let engine: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|file| file.starts_with("node/src/engine") || file.starts_with("node/src/hot"))
        .collect();
    assert!(!engine.is_empty(), "node/src/engine is the engine's place");
    let mut offences = Vec::new();
    for file in engine {
        for (index, line) in tree::text(&file).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for forbidden in [
                ".await",
                "async fn",
                "async move",
                "Instant::now",
                "SystemTime::now",
                "tokio::",
            ] {
                if code.contains(forbidden) {
                    offences.push(format!("{}:{}: {forbidden}", file.display(), index + 1));
                }
            }
        }
    }
    assert_none(&offences, "the engine is synchronous and is told the time");
}

#[test]
fn no_rust_file_allows_unsafe_code() {
    let offences: Vec<String> = rust_files()
        .iter()
        .filter(|file| {
            let allowed = ["allow(unsafe", "_code)"].concat();
            tree::text(file).contains(&allowed)
        })
        .map(|file| file.display().to_string())
        .collect();
    assert_none(&offences, "the workspace forbids unsafe code");
    assert!(tree::text("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for file in tree::files()
        .iter()
        .filter(|file| file.ends_with("Cargo.toml") && file.parent() != Some(Path::new("")))
    {
        let inherits = tree::text(file).contains("[lints]\nworkspace = true");
        assert!(
            inherits,
            "{} does not inherit the workspace's lints",
            file.display()
        );
    }
}

/// What looks like a path of ours between backquotes, in parentheses of a link, or as a Makefile target.
fn named_paths(text: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for word in quoted.chain(linked) {
        let word = word
            .split('#')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let plain = word
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
        let path_like = word.contains('/')
            || [".md", ".rs", ".toml", ".proto"]
                .iter()
                .any(|end| word.ends_with(end));
        let elsewhere = word.contains("//") || word.starts_with('/') || word.starts_with("target/");
        if plain && path_like && !elsewhere && !word.is_empty() {
            named.insert(word.to_owned());
        }
    }
    named
}

#[test]
fn every_path_that_a_document_names_exists() {
    let files = tree::files();
    let mut folders: BTreeSet<&Path> = BTreeSet::new();
    for file in &files {
        folders.extend(file.ancestors().skip(1));
    }
    // A name may be relative to the top, to the document, or to a crate's sources, as prose has it.
    let exists = |document: &Path, name: &str| {
        let wanted = Path::new(name);
        let beside = document.parent().unwrap_or(Path::new("")).join(wanted);
        let listed = |path: &Path| files.iter().any(|file| file == path) || folders.contains(path);
        let within = |path: &PathBuf| path.ends_with(wanted);
        listed(wanted)
            || listed(&beside)
            || tree::root().join(&beside).exists()
            || files.iter().any(within)
            || folders.iter().any(|folder| folder.ends_with(wanted))
    };
    let mut missing = Vec::new();
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for name in named_paths(&tree::text(document)) {
            if !exists(Path::new(document), &name) {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert_none(&missing, "documents name what exists");
}

#[test]
fn every_top_level_folder_is_in_the_architecture_document() {
    let text = tree::text("ARCHITECTURE.md");
    let mut folders = BTreeSet::new();
    for file in tree::files() {
        if file.components().count() > 1 {
            let top = file.components().next().unwrap();
            folders.insert(top.as_os_str().to_string_lossy().into_owned());
        }
    }
    let absent: Vec<String> = folders
        .into_iter()
        .filter(|folder| !folder.starts_with('.') && !text.contains(&format!("{folder}/")))
        .collect();
    assert_none(&absent, "ARCHITECTURE.md says what each folder is for");
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = tree::text("Makefile");
    let mut missing = Vec::new();
    for document in ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"] {
        let text = tree::text(document);
        let code = text.split('`').skip(1).step_by(2);
        let named = code.filter_map(|code| code.strip_prefix("make ")?.split_whitespace().next());
        for target in named {
            let rule = format!("{target}:");
            if !makefile.lines().any(|line| line.starts_with(&rule)) {
                missing.push(format!("{document}: make {target}"));
            }
        }
    }
    assert_none(&missing, "documents name Makefile targets that exist");
}

#[test]
fn every_command_is_documented() {
    let document = tree::root().join("docs/COMMANDS.md");
    if !document.exists() {
        return;
    }
    let text = std::fs::read_to_string(document).unwrap();
    let undocumented: Vec<String> = larder_proto::command::COMMANDS
        .iter()
        .map(|command| command.name.to_uppercase().replace('|', " "))
        .filter(|name| !text.contains(&format!("`{name}`")) && !text.contains(&format!("`{name} ")))
        .collect();
    assert_none(
        &undocumented,
        "docs/COMMANDS.md describes every command of the table",
    );
}

#[test]
fn what_is_committed_names_no_machine_of_ours() {
    let home = tree::root().display().to_string();
    let offences: Vec<String> = tree::files()
        .iter()
        .filter(|file| {
            let bytes = std::fs::read(tree::root().join(file)).unwrap();
            home.len() > 4 && String::from_utf8_lossy(&bytes).contains(&home)
        })
        .map(|file| file.display().to_string())
        .collect();
    assert_none(&offences, "no file names the folder it was written in");
}
