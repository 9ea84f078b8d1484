//! The election, checked exhaustively within bounds: `larder_tests::election::model` says what is looked at.
//!
//! `make test` looks at a new pair in which nothing fails but messages and answers are late or lost, and shows that
//! flaws are found. `make model` runs the rest, with optimized code: each fault by itself, a lease of two beats, and the
//! first steps of three members.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking, and say how many states they looked at"
)]

use larder_node::election::Flaw;
use larder_tests::election::model::{Bounds, Faults, Start};
use stateright::{Checker, HasDiscoveries, Model};

/// A new shard of two members, with one write and one change of primary.
const PAIR: Bounds = Bounds {
    members: 2,
    terms: 2,
    start: Start::Founded,
    writes: 1,
    losses: 0,
    faults: NONE,
    lease: 1,
    grace: 1,
    unclean_after: None,
    recoveries: 0,
    flaw: Flaw::None,
};

const NONE: Faults = Faults {
    crashes: 0,
    breaks: 0,
    unknown: 0,
    lapses: 0,
    drains: 0,
};

/// Looks at all states, and expects what should be so everywhere to be so, and what should be possible to be.
fn holds(bounds: Bounds) {
    let checker = bounds.checker().threads(2).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker.assert_properties();
}

/// Looks at the states that so many steps lead to.
fn holds_for(steps: usize, bounds: Bounds) {
    let checker = bounds.checker().threads(2).target_max_depth(steps);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    for (name, path) in checker.discoveries() {
        let example = checker.discovery_classification(name).to_string();
        assert_eq!(example, "example", "{name}: {path}");
    }
}

/// Expects a flaw to be found, as a schedule in which this is not so.
fn finds(flaw: Flaw, property: &'static str) {
    let faults = Faults { crashes: 1, ..NONE };
    let bounds = Bounds {
        faults,
        flaw,
        ..PAIR
    };
    let checker = bounds.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::AnyOf([property].into()));
    checker.spawn_bfs().join().assert_any_discovery(property);
}

#[test]
fn a_new_pair_keeps_its_word_and_recovers_in_every_schedule() {
    holds(Bounds {
        recoveries: 20,
        ..PAIR
    });
}

#[test]
fn it_is_found_that_a_write_is_acknowledged_before_the_replica_has_it() {
    let property = "in-sync members have what is acknowledged";
    finds(Flaw::AckBeforeReplica, property);
}

#[test]
fn it_is_found_that_a_primary_serves_past_its_lease() {
    finds(Flaw::ServePastLease, "one primary serves");
}

#[test]
fn it_is_found_that_a_member_campaigns_outside_the_in_sync_set() {
    let property = "who serves has what is acknowledged";
    finds(Flaw::CampaignOutsideInSync, property);
}

#[test]
fn it_is_found_that_a_node_reuses_its_incarnation() {
    let property = "who serves has what is acknowledged";
    finds(Flaw::ReuseIncarnation, property);
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn three_terms_are_as_good_as_two() {
    holds(Bounds {
        terms: 3,
        recoveries: 100,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_pair_survives_a_crash() {
    let faults = Faults { crashes: 1, ..NONE };
    holds(Bounds {
        start: Start::InSync,
        faults,
        recoveries: 500,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_pair_survives_a_request_of_unknown_outcome() {
    let faults = Faults { unknown: 1, ..NONE };
    holds(Bounds {
        faults,
        recoveries: 200,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_pair_survives_a_broken_feed() {
    let faults = Faults { breaks: 1, ..NONE };
    holds(Bounds {
        faults,
        recoveries: 200,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_pair_hands_over_when_a_node_is_to_stop() {
    let faults = Faults { drains: 1, ..NONE };
    holds(Bounds { faults, ..PAIR });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_lease_of_two_beats_is_as_good_as_one_of_one() {
    holds(Bounds {
        lease: 2,
        grace: 2,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn a_shard_that_is_taken_without_data_has_one_primary() {
    let faults = Faults { lapses: 1, ..NONE };
    holds(Bounds {
        start: Start::InSync,
        writes: 0,
        losses: 1,
        faults,
        unclean_after: Some(1),
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn of_three_members_without_writes_one_at_a_time_serves() {
    holds(Bounds {
        members: 3,
        terms: 1,
        start: Start::InSync,
        writes: 0,
        ..PAIR
    });
}

#[test]
#[ignore = "takes a minute or two: make model"]
fn three_members_keep_their_word_for_some_steps() {
    let trio = Bounds {
        members: 3,
        start: Start::InSync,
        ..PAIR
    };
    let succeeded = Bounds {
        start: Start::Succeeded,
        writes: 2,
        ..trio.clone()
    };
    holds_for(TRIO_STEPS, trio);
    holds_for(TRIO_STEPS, succeeded);
}

/// Steps of three members.
const TRIO_STEPS: usize = 11;
