//! Metrics of origins. They are the process's, whichever of its nodes asks.

use super::{
    Subject,
    text::{
        Kind::{Counter, Gauge, Histogram},
        Text,
    },
};
use crate::origin::{
    Origin,
    meter::{BOUNDS_MS, OUTCOMES},
};

/// Adds them.
pub(super) fn tell(text: &mut Text, subjects: &[Subject]) {
    let origins = subjects.first().and_then(|subject| subject.node.origins());
    let origins = origins.map_or(&[][..], |origins| origins.table().origins());
    let name = "larder_origin_requests_total";
    text.family(
        name,
        Counter,
        "Requests to an origin, and those that were not made, by outcome.",
    );
    for origin in origins {
        for (outcome, label) in OUTCOMES {
            let labels = [("origin", origin.name()), ("outcome", label)];
            text.sample(name, &labels, origin.meter.count(outcome));
        }
    }
    let name = "larder_origin_request_seconds";
    text.family(
        name,
        Histogram,
        "How long requests to an origin took, from their beginning to the last byte of the answer.",
    );
    for origin in origins {
        times(text, name, origin);
    }
    let mut each = |name: &str, kind, help: &str, number: fn(&Origin) -> f64| {
        text.family(name, kind, help);
        for origin in origins {
            text.sample(name, &[("origin", origin.name())], number(origin));
        }
    };
    each(
        "larder_origin_requests_under_way",
        Gauge,
        "Requests to an origin that are under way.",
        |origin| origin.meter.under_way() as f64,
    );
    each(
        "larder_origin_circuit_open",
        Gauge,
        "Whether an origin is not asked, because it has failed too often.",
        |origin| f64::from(u8::from(origin.is_cut_off())),
    );
    each(
        "larder_origin_stale_total",
        Counter,
        "Reads that were shown a value of an origin past its time.",
        |origin| origin.meter.stale() as f64,
    );
}

fn times(text: &mut Text, name: &str, origin: &Origin) {
    let (label, up_to) = (("origin", origin.name()), origin.meter.up_to());
    let bucket = format!("{name}_bucket");
    for (bound, count) in BOUNDS_MS.iter().zip(up_to) {
        let bound = (f64::from(*bound) / 1000.0).to_string();
        text.sample(&bucket, &[label, ("le", &bound)], count);
    }
    let requests = up_to[BOUNDS_MS.len()];
    text.sample(&bucket, &[label, ("le", "+Inf")], requests);
    text.sample(&format!("{name}_sum"), &[label], origin.meter.seconds());
    text.sample(&format!("{name}_count"), &[label], requests);
}
