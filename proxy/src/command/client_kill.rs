//! CLIENT KILL.

use std::sync::Arc;

use larder_proto::resp::integer;

use super::{Answer, Call, Flow, SYNTAX, client::is_client_type};
use crate::registry::Client;

/// Which clients to end: those for which everything holds that was asked for.
#[derive(Debug)]
struct Filter {
    id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    /// Clients of another type, or another user, of which there are none.
    nobody: bool,
    skip_me: bool,
}

pub(super) fn kill(call: &mut Call<'_>) -> Answer {
    let old_form = call.args.len() == 3;
    let filter = if old_form {
        Filter {
            address: Some(call.text(2)),
            skip_me: false,
            ..Filter::any()
        }
    } else {
        Filter::read(call)?
    };
    let own = call.session.client().id;
    let clients = call.session.front.registry.all();
    let victims: Vec<&Arc<Client>> = clients
        .iter()
        .filter(|client| filter.matches(client, own))
        .collect();
    if old_form && victims.is_empty() {
        return Err("ERR No such client".into());
    }
    let suicide = victims.iter().any(|client| client.id == own);
    victims
        .iter()
        .filter(|client| client.id != own)
        .for_each(|client| client.kill());
    match old_form {
        true => call.session.out.ok(),
        false => call
            .session
            .out
            .integer(i64::try_from(victims.len()).unwrap_or(i64::MAX)),
    }
    // A client that ends itself is still told.
    Ok(if suicide { Flow::Close } else { Flow::Continue })
}

impl Filter {
    fn any() -> Filter {
        Filter {
            id: None,
            address: None,
            local_address: None,
            nobody: false,
            skip_me: true,
        }
    }

    fn read(call: &Call<'_>) -> Result<Filter, String> {
        let mut filter = Filter::any();
        let options = call.args.from(2);
        if !options.len().is_multiple_of(2) {
            return Err(SYNTAX.into());
        }
        for at in (2..call.args.len()).step_by(2) {
            filter.add(call, at)?;
        }
        Ok(filter)
    }

    fn add(&mut self, call: &Call<'_>, at: usize) -> Result<(), String> {
        let value = call.text(at + 1);
        match call.text(at).to_uppercase().as_str() {
            "ID" => {
                let id = integer(value.as_bytes())
                    .and_then(|id| u64::try_from(id).ok())
                    .filter(|&id| id > 0);
                self.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
            }
            "TYPE" if !is_client_type(value.as_bytes()) => {
                return Err(format!("ERR Unknown client type '{value}'"));
            }
            "TYPE" => self.nobody |= !value.eq_ignore_ascii_case("normal"),
            "USER" if value != "default" => return Err(format!("ERR No such user '{value}'")),
            "USER" => {}
            "ADDR" => self.address = Some(value),
            "LADDR" => self.local_address = Some(value),
            "SKIPME" if value.eq_ignore_ascii_case("yes") => self.skip_me = true,
            "SKIPME" if value.eq_ignore_ascii_case("no") => self.skip_me = false,
            _ => return Err(SYNTAX.into()),
        }
        Ok(())
    }

    fn matches(&self, client: &Client, own: u64) -> bool {
        let spared = self.nobody || (self.skip_me && client.id == own);
        !spared
            && self.id.is_none_or(|id| id == client.id)
            && self
                .address
                .as_ref()
                .is_none_or(|address| *address == client.address.to_string())
            && self
                .local_address
                .as_ref()
                .is_none_or(|address| *address == client.local_address.to_string())
    }
}
