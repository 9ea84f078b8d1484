//! A progress bar on stderr, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::Load;

/// The bar of one phase. It counts operations, or time if only that ends the phase.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    counts_operations: bool,
}

impl Progress {
    pub(crate) fn new(title: &str, load: &Load) -> Progress {
        let length = load.length.map(|length| length.as_millis() as u64);
        let bar = ProgressBar::new(load.requests.or(length).unwrap_or(0));
        let style = ProgressStyle::with_template("{prefix:16} {wide_bar} {percent:>3} %  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(title.to_owned());
        Progress {
            bar,
            counts_operations: load.requests.is_some(),
        }
    }

    /// Whether anyone sees it.
    pub(crate) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    pub(crate) fn draw(&mut self, operations: u64, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        self.bar
            .set_message(format!("{:.0} ops/s", operations as f64 / seconds));
        self.bar.set_position(if self.counts_operations {
            operations
        } else {
            elapsed.as_millis() as u64
        });
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
