//! Which process this is, among several on the same engines.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use dormouse_core::ports::nodes::NodeId;
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::config::Config;

/// Characters that tell a process from its predecessor of the same name.
const SUFFIX: usize = 6;

/// A process among several.
#[derive(Debug, Clone)]
pub(super) struct Node {
    /// What people call it.
    pub(super) name: String,
    /// What nobody else is called, not even the same node after a restart.
    pub(super) id: NodeId,
}

impl Node {
    /// As configured, else by the name of the host.
    pub(super) fn of(config: &Config) -> Self {
        let configured = config.node.name.trim();
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let name = if configured.is_empty() {
            host
        } else {
            configured.to_owned()
        };
        let suffix: String = rand::rng()
            .sample_iter(Alphanumeric)
            .take(SUFFIX)
            .map(char::from)
            .collect();
        Self {
            id: NodeId::of(&name, &suffix),
            name,
        }
    }
}

/// Where others find what listens on `bound`: for every address of this host,
/// the one it would send from. For people; asks only the host's own routes.
pub(super) fn reachable_at(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // Addresses of documentation: nobody is there, and nothing is sent.
    let (own, far): (SocketAddr, SocketAddr) = if bound.is_ipv4() {
        let far = Ipv4Addr::new(192, 0, 2, 1);
        ((Ipv4Addr::UNSPECIFIED, 0).into(), (far, 9).into())
    } else {
        let far = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        ((Ipv6Addr::UNSPECIFIED, 0).into(), (far, 9).into())
    };
    let sends_from = UdpSocket::bind(own).and_then(|socket| {
        socket.connect(far)?;
        socket.local_addr()
    });
    match sends_from {
        Ok(from) => SocketAddr::new(from.ip(), bound.port()),
        Err(_) => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ones_own_is_told_as_it_is_and_all_of_them_as_one() {
        let own: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(reachable_at(own), own);
        let all: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(reachable_at(all).port(), 8080);
    }
}
