//! Which addresses images may be fetched from.
//!
//! A user names the URL and the host's agent connects, from inside the operator's network: an
//! address that only this place can reach must not be reachable through it, unless the operator
//! lists it.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Addresses that may be fetched from although they are not public.
#[derive(Clone, Debug, Default)]
pub struct Allowed(Vec<IpNet>);

/// Why no address of a server may be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The name cannot be resolved.
    #[error("cannot resolve {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The name stands for nothing.
    #[error("{host} has no address")]
    None {
        /// The name.
        host: String,
    },
    /// All its addresses are refused.
    #[error(
        "{host} is at {address}, which is not a public address; to allow it put it or its range into `[fetch] allow` of the agent's configuration"
    )]
    Refused {
        /// The name.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
}

impl Allowed {
    /// Public addresses and those in `ranges`.
    #[must_use]
    pub fn new(ranges: Vec<IpNet>) -> Self {
        Self(ranges)
    }

    /// Resolves once and keeps what may be connected to, in the resolver's order.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, AddressError> {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((name, port))
            .await
            .map_err(|source| AddressError::Resolve { host: host.into(), source })?;
        let found: Vec<SocketAddr> = found.collect();
        let Some(first) = found.first().map(SocketAddr::ip) else {
            return Err(AddressError::None { host: host.into() });
        };
        let good: Vec<_> = found.into_iter().filter(|at| self.permits(at.ip())).collect();
        if good.is_empty() {
            return Err(AddressError::Refused { host: host.into(), address: first });
        }
        Ok(good)
    }

    fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address)) || is_public(address)
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        // Carriers' shared range, benchmarking (our own VTEPs), and the reserved top.
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240)
}

/// Global unicast only, without the range for documentation and those that carry an IPv4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let embeds_v4 = first == 0x2002 || (first == 0x2001 && second == 0);
    first & 0xe000 == 0x2000 && !embeds_v4 && !(first == 0x2001 && second == 0xdb8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_refused_unless_listed() {
        let public = Allowed::default();
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!public.permits(inner.parse().unwrap()), "{inner}");
        }
        for outer in ["192.0.1.1", "1.1.1.1", "2606:4700::1111"] {
            assert!(public.permits(outer.parse().unwrap()), "{outer}");
        }
        let listed = Allowed::new(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(listed.permits("10.1.2.3".parse().unwrap()));
        assert!(listed.permits("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!listed.permits("127.0.0.1".parse().unwrap()));
    }
}
