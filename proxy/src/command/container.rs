//! What all commands with subcommands have in common.

use super::{Answer, Call, Flow};
use larder_proto::command::Command;

/// Longest part of a subcommand's name that the error repeats.
const QUOTED_CHARS_MAX: usize = 128;

pub(super) fn unknown_subcommand(call: &mut Call<'_>) -> Answer {
    let name: String = call.text(1).chars().take(QUOTED_CHARS_MAX).collect();
    let container = call.command.name.to_uppercase();
    Err(format!(
        "ERR unknown subcommand '{name}'. Try {container} HELP."
    ))
}

/// `HELP`: from the table.
pub(super) fn help(call: &mut Call<'_>) -> Answer {
    let container = call.command.container().unwrap_or_default();
    let upper = container.to_uppercase();
    let subcommands: Vec<&Command> = Command::named(container.as_bytes())
        .into_iter()
        .flat_map(Command::subcommands)
        .collect();
    let out = &mut call.session.out;
    out.array(1 + 2 * subcommands.len());
    out.simple(&format!(
        "{upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    ));
    for subcommand in subcommands {
        out.simple(&subcommand.short_name().to_uppercase());
        out.simple(&format!("    {}", subcommand.summary));
    }
    Ok(Flow::Continue)
}
