//! The host's own resolvers, which answer what networks do not know themselves.

use std::net::{IpAddr, SocketAddr};

const FILE: &str = "/etc/resolv.conf";
const PORT: u16 = 53;

/// The host's resolvers, best first; none when it has none.
pub fn of_host() -> Vec<SocketAddr> {
    std::fs::read_to_string(FILE).map_or_else(|_| Vec::new(), |text| parse(&text))
}

fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            let address: IpAddr = address.parse().ok()?;
            Some(SocketAddr::from((address, PORT)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_c_library_reads() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 127.0.0.53\nnameserver  ::1 \nnameserver fe80::1%eth0\n";
        let expected: Vec<SocketAddr> =
            vec!["127.0.0.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(parse(text), expected);
    }
}
