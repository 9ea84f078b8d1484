//! A ratio measured several times: its median, and how far it strayed.

use std::fmt;

use serde::Serialize;

/// The ratios of the rounds of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Half of the rounds were no higher.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Ratio {
    /// The median and the spread of these values; `None` if there are none. What is no number is left out: a round
    /// without operations has no ratio.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Ratio> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let median = if values.len() % 2 == 1 {
            upper
        } else {
            (values[values.len() / 2 - 1] + upper) / 2.0
        };
        Some(Ratio { median, min, max })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ratio { median, min, max } = self;
        write!(f, "{median:.3} ({min:.3}..{max:.3})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_in_the_middle() {
        let ratio = |values: &[f64]| Ratio::of(values.iter().copied());
        assert_eq!(ratio(&[]), None);
        assert_eq!(ratio(&[f64::NAN, f64::INFINITY]), None);
        let odd = ratio(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        let even = ratio(&[4.0, 1.0, f64::NAN, 2.0, 3.0]).unwrap();
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
        assert_eq!(even.to_string(), "2.500 (1.000..4.000)");
    }
}
