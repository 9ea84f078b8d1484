//! The redis-py suites of `tests/python/`, each against a cluster of its own.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]

use larder_tests::dev::Dev;
use larder_tests::tool::python_suite;
use larder_tests::tree;

#[test]
fn every_command_family_works_through_redis_py() {
    python_suite("test_commands", &Dev::start());
}

#[test]
fn what_concerns_all_keys_covers_the_cluster_through_redis_py() {
    python_suite("test_keyspace", &Dev::start());
}

#[test]
fn plain_cluster_and_asyncio_clients_of_redis_py_work() {
    python_suite("test_clients", &Dev::start());
}

#[test]
fn every_python_suite_is_run_here() {
    let here = tree::text("tests/tests/python.rs");
    for file in tree::files() {
        let name = file.file_stem().unwrap().to_string_lossy();
        if file.starts_with("tests/python") && name.starts_with("test_") {
            assert!(
                here.contains(&format!("python_suite(\"{name}\"")),
                "{} is not run",
                file.display()
            );
        }
    }
}
