//! What this host is: name, processors, memory, addresses.

use crate::desired::Desired;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};

/// An address of nobody (RFC 5737): the way to it is the way to the world.
pub const SOMEWHERE: &str = "https://192.0.2.1:9";

/// The host's name, or `localhost` when the kernel tells none.
#[must_use]
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".into())
}

/// Number of processors this process may use.
#[must_use]
pub fn processors() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
}

/// The host's memory in MiB; 0 when the kernel does not tell.
#[must_use]
pub fn memory_mb() -> u64 {
    std::fs::read_to_string("/proc/meminfo").map_or(0, |text| total_mb(&text))
}

fn total_mb(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Memory that no instance of this host was promised, in MiB.
#[must_use]
pub fn memory_free_mb(total: u64, desired: &Desired) -> u64 {
    let containers = desired.containers.values().map(|container| &container.guest);
    let machines = desired.machines.values().map(|machine| &machine.guest);
    let promised = containers.chain(machines).filter_map(|guest| guest.memory_mb);
    total.saturating_sub(promised.fold(0, u64::saturating_add))
}

/// The address this host has on the way to controld; nothing is sent to find it.
#[must_use]
pub fn address_towards(controld: &str) -> Option<IpAddr> {
    let authority = controld.strip_prefix("https://")?.trim_end_matches('/');
    let with_port = if authority.rsplit(']').next()?.contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    };
    let target = with_port.to_socket_addrs().ok()?.next()?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_memory_table() {
        assert_eq!(total_mb("MemFree: 1 kB\nMemTotal:       16384000 kB\n"), 16000);
        assert_eq!(total_mb("nothing"), 0);
        assert!(memory_mb() > 0);
    }

    #[test]
    fn the_way_to_loopback_is_loopback() {
        let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(address_towards("https://127.0.0.1:9443"), loopback);
        assert_eq!(address_towards("https://127.0.0.1"), loopback);
        assert_eq!(address_towards("http://127.0.0.1"), None);
    }
}
