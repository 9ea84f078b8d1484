//! Free ports for servers that come back on the port they had.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use crate::failover::error::FailoverError;

/// Below the ports that the system gives to connections: a port stays free while its server is down.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const ATTEMPTS: usize = 10_000;

/// So many ports that nobody listens on.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, FailoverError> {
    let mut ports = Vec::new();
    for _ in 0..ATTEMPTS {
        if ports.len() == count {
            return Ok(ports);
        }
        let port = rand::rng().random_range(PORTS);
        let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && !ports.contains(&port) {
            ports.push(port);
        }
    }
    Err(FailoverError::Ports(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_different_and_free() {
        let ports = free_ports(50).unwrap();
        let listeners: Vec<_> = ports
            .iter()
            .map(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .collect();
        assert!(listeners.iter().all(Result::is_ok));
    }
}
