//! A report for people.

use std::fmt;

use super::{CpuReport, Latency, LoadReport, Report};

/// A number with its thousands apart: `1 234 567`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", &digits[..]),
    };
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.target, self.load)?;
        writeln!(
            f,
            "{:.2} s{}, {} operations, {} ops/s",
            self.seconds,
            if self.interrupted {
                " (interrupted)"
            } else {
                ""
            },
            thousands(self.operations as f64),
            thousands(self.operations_per_second),
        )?;
        if self.operations > 0 {
            self.latencies(f)?;
        }
        if let Some(cpu) = &self.server_cpu {
            writeln!(f, "server CPU  {cpu}")?;
        }
        writeln!(f, "load's CPU  {}", self.own_cpu)?;
        if let Some(hits) = self.near_hits {
            let (reads, left) = (
                self.reads.operations,
                self.reads.operations.max(hits) - hits,
            );
            writeln!(
                f,
                "near cache  {} of {} reads, {:.2} times fewer left the client",
                thousands(hits as f64),
                thousands(reads as f64),
                reads as f64 / left.max(1) as f64
            )?;
        }
        for node in &self.nodes {
            writeln!(f, "{node}")?;
        }
        if self.unsent > 0 {
            let unsent = thousands(self.unsent as f64);
            writeln!(f, "behind: {unsent} operations were due and never sent")?;
        }
        let failed = thousands(self.error_count() as f64);
        write!(
            f,
            "misses {}, errors {failed}",
            thousands(self.misses as f64)
        )?;
        for (kind, error) in &self.errors {
            let count = thousands(error.count as f64);
            write!(f, "\n  {kind}: {count}, the first: {}", error.first)?;
        }
        Ok(())
    }
}

impl Report {
    fn latencies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}{:>13}", "latency us", "operations")?;
        for title in ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
            write!(f, "{title:>10}")?;
        }
        writeln!(f)?;
        let both = self.reads.operations > 0 && self.writes.operations > 0;
        for (title, latency, shown) in [
            ("read", &self.reads, self.reads.operations > 0),
            ("write", &self.writes, self.writes.operations > 0),
            ("all", &self.all, both),
        ] {
            if shown {
                writeln!(f, "{title:>10}{latency}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>13}", thousands(self.operations as f64))?;
        for us in [
            self.mean_us,
            self.p50_us,
            self.p90_us,
            self.p99_us,
            self.p99_9_us,
            self.p99_99_us,
            self.max_us,
        ] {
            write!(f, "{us:>10.1}")?;
        }
        Ok(())
    }
}

impl fmt::Display for CpuReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(us) = self.us_per_operation {
            write!(f, "{us:.3} us an operation, ")?;
        }
        write!(f, "{:.2} cores", self.cores)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(connections), Some(pipeline)) = (self.connections, self.pipeline) {
            write!(f, "{connections} connections at depth {pipeline}")?;
        }
        if let Some(tasks) = self.tasks {
            write!(f, "{tasks} tasks")?;
        }
        write!(f, ", {} thread(s)", self.threads)?;
        if let Some(rate) = self.rate {
            write!(f, ", {} ops/s meant", thousands(rate))?;
        }
        let keys = thousands(self.keys as f64);
        write!(
            f,
            ", reads:writes {}, {keys} keys of {} bytes {}",
            self.ratio, self.key_bytes, self.distribution
        )?;
        write!(f, ", values of {} bytes", self.value_size)?;
        match &self.ttl {
            Some(ttl) => write!(f, " for {ttl}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (1000.0, "1 000"),
            (-1_234_567.0, "-1 234 567"),
        ] {
            assert_eq!(thousands(number), text);
        }
    }
}
