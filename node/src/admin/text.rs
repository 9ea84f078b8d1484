//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

/// A text in the making.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// What a family of samples is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Only rises, but for a new start.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by range, the ranges named by the samples.
    Histogram,
}

impl Text {
    /// Begins a family. Its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// Adds a sample.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_the_format() {
        let mut text = Text::default();
        text.family("larder_keys", Kind::Gauge, "Keys.");
        text.sample("larder_keys", &[("node", "a\"b\\"), ("shard", "s")], 3);
        text.sample("larder_up", &[], 0.5);
        let expected = "# HELP larder_keys Keys.\n# TYPE larder_keys gauge\n\
             larder_keys{node=\"a\\\"b\\\\\",shard=\"s\"} 3\nlarder_up 0.5\n";
        assert_eq!(text.finish(), expected);
    }
}
