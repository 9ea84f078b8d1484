//! Election scripts: `tests/election/*.txt`, rewritten when `LARDER_REWRITE` is set. `larder_tests::election::script`
//! says how they are read.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::election::script;
use larder_tests::tree;

#[test]
fn every_election_goes_as_its_script_says() {
    let folder = tree::root().join("tests/election");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "only {files:?}");
    let mut differing = Vec::new();
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let happened = script::run(&written);
        if std::env::var_os("LARDER_REWRITE").is_some() {
            std::fs::write(&file, happened).unwrap();
        } else if let Some(difference) = first_difference(&written, &happened) {
            let name = file.file_name().unwrap().to_string_lossy();
            differing.push(format!("{name}:{difference}"));
        }
    }
    assert!(
        differing.is_empty(),
        "what happens is not what the scripts say; LARDER_REWRITE=1 rewrites them:\n{}",
        differing.join("\n")
    );
}

fn first_difference(written: &str, happened: &str) -> Option<String> {
    let (mut one, mut other) = (written.lines(), happened.lines());
    for number in 1.. {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (written, happened) if written != happened => {
                let show = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                let (written, happened) = (show(written), show(happened));
                return Some(format!(
                    "{number}:\n  written  {written}\n  happened {happened}"
                ));
            }
            _ => {}
        }
    }
    None
}
