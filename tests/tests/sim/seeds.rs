//! Seeds of the simulator: `make sim`.

use std::{
    env,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use larder_node::election::Flaw;

use super::run::{self, Counts, Report, Violation};

/// Seeds that are run if nobody asks for more.
const SEEDS: u64 = 2000;

/// At most one in so many keys may have a history of which it took too long to find out.
const UNDECIDED_PART: usize = 100;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is '{text}', which is no number")))
}

/// Runs these seeds on all cores, until one fails in a way that counts.
fn run_all(
    seeds: Range<u64>,
    flaw: Flaw,
    counts: fn(&Violation) -> bool,
) -> Result<Counts, Box<Report>> {
    let next = AtomicU64::new(seeds.start);
    let (total, failed) = (Mutex::new(Counts::default()), Mutex::new(None::<Report>));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = run::run(seed, flaw, false);
            *total.lock().unwrap() += report.counts;
            if report.violation.as_ref().is_some_and(counts) {
                next.store(seeds.end, Ordering::Relaxed);
                let mut failed = failed.lock().unwrap();
                if failed.as_ref().is_none_or(|other| seed < other.seed) {
                    *failed = Some(report);
                }
            }
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(worker)));
    });
    match failed.into_inner().unwrap() {
        None => Ok(total.into_inner().unwrap()),
        Some(failed) => Err(Box::new(run::run(failed.seed, flaw, true))),
    }
}

/// Every way in which members can be made to do wrong.
const FLAWS: [Flaw; 6] = [
    Flaw::AckBeforeReplica,
    Flaw::ServePastLease,
    Flaw::CampaignOutsideInSync,
    Flaw::ReuseIncarnation,
    Flaw::IgnoreTerm,
    Flaw::IgnoreToken,
];

/// The flaw that is asked for, to see how it is caught.
fn flaw() -> Flaw {
    let Some(name) = env::var("LARDER_SIM_FLAW").ok().filter(|it| !it.is_empty()) else {
        return Flaw::None;
    };
    let found = FLAWS.iter().find(|flaw| format!("{flaw:?}") == name);
    *found.unwrap_or_else(|| panic!("LARDER_SIM_FLAW is '{name}', which is none of {FLAWS:?}"))
}

#[test]
fn what_must_hold_holds_whatever_happens() {
    if let Some(seed) = number("LARDER_SIM_SEED") {
        let report = run::run(seed, flaw(), true);
        eprintln!("{}", report.setup);
        report.trace.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("seed {seed}: {:?}", report.counts);
        return assert!(report.violation.is_none(), "seed {seed} fails, as above");
    }
    let seeds = number("LARDER_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("LARDER_SIM_FIRST").unwrap_or(1);
    match run_all(first..first + seeds, flaw(), |_| true) {
        Ok(counts) => {
            eprintln!("{seeds} seeds hold: {counts:?}");
            let Counts {
                judged,
                undecided,
                stored,
                voided,
                ..
            } = counts;
            // Else nothing is said of loads.
            assert!(seeds < 100 || stored > 0 && voided > 0);
            let most = judged / UNDECIDED_PART;
            assert!(undecided <= most, "{undecided} of {judged} are undecided");
        }
        Err(failed) => panic!("{failed}"),
    }
}

/// Seeds within which each flaw has to show.
const SEEDS_WITH_FLAW: u64 = 300;

#[test]
fn each_flaw_is_caught() {
    for flaw in FLAWS {
        // It is not enough that the shard serves no more.
        let counts = |violation: &Violation| matches!(violation, Violation::Unsafe(_));
        match run_all(1..1 + SEEDS_WITH_FLAW, flaw, counts) {
            Ok(counts) => panic!("nobody notices {flaw:?}: {counts:?}"),
            Err(caught) => {
                let violation = caught.violation.expect("that is why it was caught");
                if flaw == Flaw::IgnoreToken {
                    // Nothing else is wrong with it: only the judge of loads can tell.
                    let text = violation.to_string();
                    assert!(text.contains("was stored, though after"), "{text}");
                }
                eprintln!("{flaw:?} is caught by seed {}: {violation}", caught.seed);
            }
        }
    }
}

#[test]
fn a_seed_takes_the_same_course_every_time() {
    for seed in 1..6 {
        let run = || run::run(seed, Flaw::None, true);
        let (one, other) = (run(), run());
        assert!(one.trace.len() > 100, "seed {seed}");
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}
