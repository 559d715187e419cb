//! Names that stand for addresses, and which of them no resolver outside may be asked for.

use hickory_proto::rr::Name;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Ranges that mean something else, or nothing, outside (RFC 6303, RFC 6598 and RFC 2544).
const PRIVATE: [&str; 16] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "255.255.255.255/32",
    "::/127",
    "fc00::/7",
    "fe80::/10",
    "2001:db8::/32",
];

/// The range that a reverse name stands for, whatever stands before its digits; `None` when the
/// name is no reverse name.
pub(super) fn range(name: &Name) -> Option<IpNet> {
    let mut labels = name.iter().rev();
    if !labels.next()?.eq_ignore_ascii_case(b"arpa") {
        return None;
    }
    match labels.next()? {
        tree if tree.eq_ignore_ascii_case(b"in-addr") => Some(range_v4(labels)),
        tree if tree.eq_ignore_ascii_case(b"ip6") => Some(range_v6(labels)),
        _ => None,
    }
}

fn range_v4<'a>(labels: impl Iterator<Item = &'a [u8]>) -> IpNet {
    let mut octets = [0; 4];
    let mut length = 0;
    for (octet, label) in octets.iter_mut().zip(labels) {
        let Some(value) = std::str::from_utf8(label).ok().and_then(|text| text.parse().ok()) else {
            break;
        };
        *octet = value;
        length += 8;
    }
    Ipv4Net::new_assert(Ipv4Addr::from(octets), length).into()
}

fn range_v6<'a>(labels: impl Iterator<Item = &'a [u8]>) -> IpNet {
    let mut bits = 0;
    let mut length = 0;
    for label in labels.take(32) {
        let digit = match label {
            [digit] => char::from(*digit).to_digit(16),
            _ => None,
        };
        let Some(digit) = digit else { break };
        bits |= u128::from(digit) << (124 - length);
        length += 4;
    }
    let length = u8::try_from(length).unwrap_or(128);
    Ipv6Net::new_assert(Ipv6Addr::from(bits), length).into()
}

/// Whether the whole range is private.
pub(super) fn is_private(range: &IpNet) -> bool {
    PRIVATE.iter().filter_map(|text| IpNet::from_str(text).ok()).any(|it| it.contains(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Option<String> {
        range(&Name::from_ascii(name).unwrap()).map(|range| range.to_string())
    }

    #[test]
    fn every_private_range_is_one() {
        for text in PRIVATE {
            assert!(is_private(&text.parse().unwrap()), "{text}");
        }
        for text in ["8.0.0.0/8", "172.0.0.0/8", "172.32.0.0/16", "2000::/3", "0.0.0.0/0"] {
            assert!(!is_private(&text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn reverse_names_are_read() {
        for (name, range) in [
            ("5.0.42.10.in-addr.arpa.", Some("10.42.0.5/32")),
            ("42.10.IN-ADDR.ARPA.", Some("10.42.0.0/16")),
            ("b._dns-sd._udp.0.0.42.10.in-addr.arpa.", Some("10.42.0.0/32")),
            ("256.10.in-addr.arpa.", Some("10.0.0.0/8")),
            ("in-addr.arpa.", Some("0.0.0.0/0")),
            ("d.f.ip6.arpa.", Some("fd00::/8")),
            ("web.example.", None),
            ("arpa.", None),
            (".", None),
        ] {
            assert_eq!(parsed(name).as_deref(), range, "{name}");
        }
        let every_digit = format!("1{}.ip6.arpa.", ".0".repeat(31));
        assert_eq!(parsed(&every_digit).as_deref(), Some("::1/128"));
    }
}
