//! Origins: where keys that are missing are loaded from over HTTP, by whoever is their primary.
//!
//! ```text
//!   GET ----> at once: the value, stale or not; null or an error, if it could not be loaded a moment ago
//!     |         |
//!     |         +- stale: one task loads it anew, under a lease (engine/leases.rs)
//!     |
//!     +-----> missing: FILLING, for replies leave in order. The front end or client asks again by `Data.Get`:
//!               |
//!               v                     +--> value, for so long; lets a value live on that is as good as new
//!             lease, or wait <----- task: requests, retries --> nothing: remembered for a while
//!                                     +--> failed: whoever waits is told
//! ```
//!
//! The engine knows nothing of this: a load goes through the leases that `LOAD.GET` goes through, so a write or deletion
//! meanwhile voids it, and so does the end of the reign.
//!
//! `table.rs` has the origins, `settings.rs` and `template.rs` what is set of them, `http.rs` makes one request,
//! `breaker.rs` and `pause.rs` say whether and when to make another, `freshness.rs` says for how long an answer is good.
//! `load.rs` carries out a load and `get.rs` answers reads.

mod breaker;
mod freshness;
mod get;
mod http;
mod load;
pub(crate) mod meter;
mod pause;
mod settings;
mod table;
mod template;
mod validators;

use std::sync::Arc;

use larder_proxy::Info;

use crate::node::Node;
use meter::OUTCOMES;
use validators::Validators;

pub(crate) use settings::OriginSettings;
pub(crate) use table::{Origin, Table};

/// The origins, as one node uses them.
#[derive(Debug)]
pub(crate) struct Origins {
    table: Arc<Table>,
    validators: Validators,
}

impl Origins {
    /// For a node whose keys come from these.
    pub(crate) fn new(table: Arc<Table>) -> Origins {
        Origins {
            table,
            validators: Validators::default(),
        }
    }

    /// All of them.
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Where a key comes from.
    pub(crate) fn find(&self, key: &[u8]) -> Option<&Arc<Origin>> {
        self.table.find(key)
    }
}

/// Adds a line for each origin to `INFO`.
pub(crate) fn tell(node: &Node, info: &mut Info) {
    let Some(origins) = node.origins() else {
        return;
    };
    let section = info.section("Origins");
    for origin in origins.table.origins() {
        let outcomes = OUTCOMES
            .iter()
            .map(|(outcome, name)| format!("{name}={}", origin.meter.count(*outcome)));
        let circuit = if origin.is_cut_off() {
            "open"
        } else {
            "closed"
        };
        let line = format!(
            "requests={},under_way={},circuit={circuit},{}",
            origin.meter.requests(),
            origin.meter.under_way(),
            outcomes.collect::<Vec<_>>().join(",")
        );
        section.line(&format!("origin_{}", origin.name()), line);
    }
}
