//! CONFIG.

use larder_proto::glob;

use super::{Answer, Call, Flow, SYNTAX};

pub(super) fn get(call: &mut Call<'_>) -> Answer {
    let patterns: Vec<Vec<u8>> = call
        .args
        .from(2)
        .iter()
        .map(<[u8]>::to_ascii_lowercase)
        .collect();
    let wanted = |name: &str| {
        patterns
            .iter()
            .any(|pattern| glob::matches(pattern, name.as_bytes()))
    };
    let found: Vec<_> = call
        .session
        .front
        .parameters()
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .collect();
    call.session.out.map(found.len());
    for (name, value) in found {
        call.session.out.bulk(name.as_bytes());
        call.session.out.bulk(value.as_bytes());
    }
    Ok(Flow::Continue)
}

/// Sets all parameters, or none.
pub(super) fn set(call: &mut Call<'_>) -> Answer {
    if !call.args.len().is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    let pairs: Vec<(String, String)> = (2..call.args.len())
        .step_by(2)
        .map(|at| (call.text(at).to_lowercase(), call.text(at + 1)))
        .collect();
    let front = &call.session.front;
    let before = front.parameters();
    let mut done: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &pairs {
        let outcome = match before.iter().find(|(known, _)| known == name) {
            None => Err(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            )),
            Some(_) if pairs.iter().filter(|(other, _)| other == name).count() > 1 => Err(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - duplicate parameter"
            )),
            Some((known, old)) => match front.set_parameter(name, value) {
                Some(Ok(())) => {
                    done.push((known, old));
                    Ok(())
                }
                Some(Err(error)) => Err(format!(
                    "ERR CONFIG SET failed (possibly related to argument '{name}') - {error}"
                )),
                None => Err(format!(
                    "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
                )),
            },
        };
        if let Err(message) = outcome {
            done.iter()
                .for_each(|(name, old)| drop(front.set_parameter(name, old)));
            return Err(message);
        }
    }
    call.session.out.ok();
    Ok(Flow::Continue)
}

pub(super) fn resetstat(call: &mut Call<'_>) -> Answer {
    call.session.front.stats.reset();
    call.session.front.backend.reset_statistics();
    call.session.out.ok();
    Ok(Flow::Continue)
}
