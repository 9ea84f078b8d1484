//! Which policy does best over all traces and sizes.

use serde::Serialize;

use super::{
    references::Reference,
    report::{Kind, Row, WorkloadReport},
};

/// How far each policy and reference is from the best policy. Belady's, which knows the future, is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Traces times sizes.
    pub cells: usize,
    /// Policies first, each kind by its mean regret.
    pub standings: Vec<Standing>,
}

/// One policy or reference. A *regret* is the hit ratio of the best policy of a trace and size less its own, so that of a
/// reference may be negative.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Cells where no policy is better.
    pub wins: usize,
    /// Over all cells.
    pub mean_regret: f64,
    /// The largest.
    pub worst_regret: f64,
    /// The trace where that is.
    pub worst_workload: String,
    /// The size where that is.
    pub worst_size: String,
}

impl Summary {
    pub(super) fn of(workloads: &[WorkloadReport]) -> Summary {
        let cells = workloads.iter().map(|workload| workload.sizes.len()).sum();
        let mut names: Vec<(&str, Kind)> = Vec::new();
        for row in workloads.iter().flat_map(|workload| &workload.rows) {
            let name = (row.name.as_str(), row.kind);
            if row.name != Reference::Belady.name() && !names.contains(&name) {
                names.push(name);
            }
        }
        let mut standings: Vec<Standing> = names
            .into_iter()
            .filter_map(|name| Standing::of(name, workloads))
            .collect();
        standings.sort_by(|one, other| {
            (one.kind as u8)
                .cmp(&(other.kind as u8))
                .then(one.mean_regret.total_cmp(&other.mean_regret))
        });
        Summary { cells, standings }
    }

    /// The policy with the least mean regret.
    pub fn best(&self) -> Option<&Standing> {
        let first = self.standings.first();
        first.filter(|standing| standing.kind == Kind::Policy)
    }
}

impl Standing {
    /// `None` if it is not there in every trace, or there is no policy to compare with.
    fn of((name, kind): (&str, Kind), workloads: &[WorkloadReport]) -> Option<Standing> {
        let mut standing = Standing {
            name: name.to_owned(),
            kind,
            wins: 0,
            mean_regret: 0.0,
            worst_regret: f64::NEG_INFINITY,
            worst_workload: String::new(),
            worst_size: String::new(),
        };
        let mut cells = 0;
        for workload in workloads {
            let row = workload.rows.iter().find(|row| row.name == name)?;
            for (index, size) in workload.sizes.iter().enumerate() {
                let regret = best(&workload.rows, index)? - row.cells[index].hit_ratio;
                cells += 1;
                standing.wins += usize::from(regret <= 0.0);
                standing.mean_regret += regret;
                if regret > standing.worst_regret {
                    standing.worst_regret = regret;
                    standing.worst_workload.clone_from(&workload.name);
                    standing.worst_size.clone_from(&size.name);
                }
            }
        }
        standing.mean_regret /= f64::from(cells.max(1));
        (cells > 0).then_some(standing)
    }
}

/// The best policy's hit ratio at the size of this index.
fn best(rows: &[Row], index: usize) -> Option<f64> {
    let policies = rows.iter().filter(|row| row.kind == Kind::Policy);
    policies
        .map(|row| row.cells[index].hit_ratio)
        .reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{
        replay::Tally,
        report::{Cell, SizeReport},
        request::tests::trace,
    };

    /// A trace with a row for each of these, with hits of 100 reads at each size.
    fn workload(name: &str, rows: &[(&str, Kind, [u64; 2])]) -> WorkloadReport {
        let size = |name: &str| SizeReport {
            name: name.to_owned(),
            bytes: 1,
        };
        let mut workload = WorkloadReport::new(&trace("a"), 1, vec![size("1 %"), size("10 %")]);
        workload.name = name.to_owned();
        workload.rows = rows
            .iter()
            .map(|(name, kind, hits)| Row {
                name: (*name).to_owned(),
                kind: *kind,
                cells: hits
                    .iter()
                    .map(|&hits| {
                        Cell::from(Tally {
                            gets: 100,
                            hits,
                            ..Tally::default()
                        })
                    })
                    .collect(),
            })
            .collect();
        workload
    }

    #[test]
    fn regret_is_against_the_best_policy_of_each_cell() {
        use Kind::{Policy, Reference};
        let summary = Summary::of(&[
            workload(
                "one",
                &[
                    ("a", Policy, [50, 60]),
                    ("b", Policy, [40, 70]),
                    ("exact", Reference, [55, 70]),
                ],
            ),
            workload(
                "two",
                &[
                    ("a", Policy, [10, 20]),
                    ("b", Policy, [10, 50]),
                    ("exact", Reference, [0, 0]),
                ],
            ),
        ]);
        assert_eq!(summary.cells, 4);
        let [b, a, exact] = &summary.standings[..] else {
            panic!("{summary:?}");
        };
        assert_eq!(
            (b.name.as_str(), b.wins, a.name.as_str(), a.wins),
            ("b", 3, "a", 2)
        );
        assert!((b.mean_regret - 0.025).abs() < 1e-9, "{b:?}");
        assert!((a.mean_regret - 0.1).abs() < 1e-9, "{a:?}");
        assert!((a.worst_regret - 0.3).abs() < 1e-9, "{a:?}");
        assert_eq!(
            (a.worst_workload.as_str(), a.worst_size.as_str()),
            ("two", "10 %")
        );
        assert!((exact.mean_regret - (-0.05 + 0.0 + 0.1 + 0.5) / 4.0).abs() < 1e-9);
        assert_eq!(summary.best(), Some(b));
    }

    #[test]
    fn a_policy_that_was_refused_somewhere_is_left_out_and_so_is_belady() {
        use Kind::{Policy, Reference};
        let belady = super::Reference::Belady.name();
        let summary = Summary::of(&[
            workload("one", &[("a", Policy, [5, 6]), ("b", Policy, [4, 7])]),
            workload(
                "two",
                &[("a", Policy, [1, 2]), (belady, Reference, [10, 50])],
            ),
        ]);
        let names: Vec<_> = summary
            .standings
            .iter()
            .map(|standing| &standing.name)
            .collect();
        assert_eq!(names, ["a"]);
        assert_eq!(Summary::of(&[]).best(), None);
    }
}
