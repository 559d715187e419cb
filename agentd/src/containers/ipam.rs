//! Which address Docker gets: decided without I/O from the snapshot and what is taken.
//!
//! Docker's question carries no identity. One that names an address comes from a container that was
//! made with it (by us, or by hand with `--ip`); one that names none gets an address of this host's
//! reserve. Owns the decisions; the journal makes them durable before Docker hears of them.

use super::journal::{Place, Record, State};
use crate::desired::Desired;
use api::item::{Attachment, Network};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How long an address that Docker gave back is not given out again, so that nobody talks to a
/// stranger at an address they remember.
pub const REST: Duration = Duration::from_secs(300);

/// Why Docker gets no pool or address. Shown to whoever ran the Docker command.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IpamError {
    /// The pool's name is not one of ours.
    #[error("cannot use address pool {0:?}: it is not one of Stampede's")]
    ForeignPool(String),
    /// A network made by hand, without saying which one it stands for.
    #[error(
        "cannot give a Docker network an address pool: networks of driver stampede are made by \
         agentd; create the network in Stampede instead"
    )]
    NoNetworkNamed,
    /// The snapshot has no such network.
    #[error("cannot give addresses of network {0}: this host is not a member of it")]
    NotAMember(u32),
    /// The range is not the network's.
    #[error("cannot give range {asked} for network {name}: its range is {range}")]
    OtherRange {
        /// What Docker asked for.
        asked: String,
        /// The network's name.
        name: String,
        /// The network's range.
        range: String,
    },
    /// Managed networks have no IPv6.
    #[error("cannot give an IPv6 range: managed networks are IPv4")]
    NoIpv6,
    /// The text is no address.
    #[error("cannot read address {0:?}")]
    BadAddress(String),
    /// Asked by address for what is not this host's to give.
    #[error(
        "cannot give address {ip} of network {name}: it belongs neither to a container of this \
         host nor to its reserve"
    )]
    NotOurs {
        /// The address.
        ip: Ipv4Addr,
        /// The network's name.
        name: String,
    },
    /// Asked by address for what another hand-run container has.
    #[error("cannot give address {ip} of network {name}: another container has it")]
    InUse {
        /// The address.
        ip: Ipv4Addr,
        /// The network's name.
        name: String,
    },
    /// All addresses of the reserve are taken.
    #[error(
        "cannot give an address of network {name}: all {granted} addresses of this host's reserve \
         are in use; remove a container, or create this one through Stampede"
    )]
    ReserveEmpty {
        /// The network's name.
        name: String,
        /// How many addresses the reserve has.
        granted: usize,
    },
}

/// Names the pool of a network in Docker's later calls.
#[must_use]
pub fn pool_id(vni: u32) -> String {
    format!("stampede/{vni}")
}

/// The network that a pool belongs to.
///
/// # Errors
/// When the name was not made by [`pool_id`].
pub fn pool_vni(pool: &str) -> Result<u32, IpamError> {
    pool.strip_prefix("stampede/")
        .and_then(|vni| vni.parse().ok())
        .ok_or_else(|| IpamError::ForeignPool(pool.into()))
}

/// The network of this number.
///
/// # Errors
/// When this host is not a member of it.
pub fn network(desired: &Desired, vni: u32) -> Result<&Network, IpamError> {
    desired.networks.get(&vni).ok_or(IpamError::NotAMember(vni))
}

/// Checks a range that Docker wants for a network; an empty one means the network's own.
///
/// # Errors
/// When it is another one.
pub fn check_range(network: &Network, asked: &str) -> Result<(), IpamError> {
    let range = network.cidr.trunc().to_string();
    if asked.is_empty() || asked == range {
        return Ok(());
    }
    Err(IpamError::OtherRange { asked: asked.into(), name: network.name.clone(), range })
}

/// Since when addresses rest. Lost at a restart of agentd, which then counts from its own start:
/// rather too long than too short.
#[derive(Debug, Default)]
pub struct Rest {
    since: HashMap<Place, Instant>,
}

impl Rest {
    /// Notes what rests now and lists what has rested long enough.
    pub fn ended(&mut self, state: &State, now: Instant) -> Vec<Place> {
        self.since.retain(|place, _| state.resting.contains(place));
        for place in &state.resting {
            self.since.entry(*place).or_insert(now);
        }
        let over = |since: &Instant| now.saturating_duration_since(*since) >= REST;
        self.since.iter().filter(|(_, since)| over(since)).map(|(place, _)| *place).collect()
    }

    /// Notes that an address was released just now, whenever it rested before.
    pub fn begin(&mut self, place: Place, now: Instant) {
        self.since.insert(place, now);
    }

    /// Since when an address rests, as far as this run of agentd knows.
    fn since(&self, place: &Place) -> Option<Instant> {
        self.since.get(place).copied()
    }
}

/// An address for Docker, and what must be durable before it is given.
#[derive(Debug, PartialEq, Eq)]
pub struct Gift {
    /// The address.
    pub ip: Ipv4Addr,
    /// What the journal must hold first.
    pub records: Vec<Record>,
}

/// Chooses an address: the one asked for, or one of the reserve. When all others are taken, the one
/// that rests longest is given: whoever starts containers one after the other would else be refused
/// after a few, and a host's address keeps its Ethernet address, so that no neighbour is misled.
///
/// # Errors
/// When the address is not this host's to give, or the reserve is empty.
pub fn choose(
    desired: &Desired,
    state: &State,
    rest: &Rest,
    network: &Network,
    asked: Option<Ipv4Addr>,
) -> Result<Gift, IpamError> {
    match asked {
        Some(ip) => by_address(desired, state, network, ip),
        None => from_reserve(desired, state, rest, network),
    }
}

fn by_address(
    desired: &Desired,
    state: &State,
    network: &Network,
    ip: Ipv4Addr,
) -> Result<Gift, IpamError> {
    let name = || network.name.clone();
    let place = Place { vni: network.vni, ip };
    if is_reserved(desired, place) {
        if state.taken.contains(&place) {
            return Err(IpamError::InUse { ip, name: name() });
        }
        // Also while it rests: whoever names it means it, and `docker restart` of a container made
        // with `--ip` gives its address back only to ask for it again.
        return Ok(Gift { ip, records: vec![Record::Taken(place)] });
    }
    if is_pinned(desired, place) {
        return Ok(Gift { ip, records: Vec::new() });
    }
    Err(IpamError::NotOurs { ip, name: name() })
}

fn from_reserve(
    desired: &Desired,
    state: &State,
    rest: &Rest,
    network: &Network,
) -> Result<Gift, IpamError> {
    let granted = desired.reserves.get(&network.vni).map_or(&[][..], |reserve| &reserve.addresses);
    let free = |place: &Place| !state.taken.contains(place);
    let resting = |place: &Place| state.resting.contains(place).then(|| rest.since(place));
    let places = granted.iter().map(|granted| Place { vni: network.vni, ip: granted.ip });
    // An address that a stopped container had last is given only when there is no other.
    let remembered = |place: &Place| state.bound.values().any(|port| port.place == *place);
    let order = |place: &Place| (resting(place), remembered(place), place.ip);
    let place = places.filter(free).min_by_key(order);
    place.map(|place| Gift { ip: place.ip, records: vec![Record::Taken(place)] }).ok_or_else(|| {
        IpamError::ReserveEmpty { name: network.name.clone(), granted: granted.len() }
    })
}

/// Whether an address belongs to this host's reserve.
#[must_use]
pub fn is_reserved(desired: &Desired, place: Place) -> bool {
    let reserve = desired.reserves.get(&place.vni);
    reserve.is_some_and(|reserve| reserve.addresses.iter().any(|granted| granted.ip == place.ip))
}

/// Whether an address belongs to a container that agentd makes.
fn is_pinned(desired: &Desired, place: Place) -> bool {
    let mut nics = desired.containers.values().flat_map(|container| &container.guest.nics);
    nics.any(|nic| match nic.attachment {
        Attachment::Managed { vni, ip, .. } => place == Place { vni, ip },
        Attachment::Unmanaged { .. } => false,
    })
}

/// The Ethernet address that goes with an address of this host.
#[must_use]
pub fn mac(desired: &Desired, place: Place) -> Option<api::mac::Mac> {
    let reserve = desired.reserves.get(&place.vni).into_iter();
    let mut reserved = reserve.flat_map(|reserve| &reserve.addresses);
    if let Some(granted) = reserved.find(|granted| granted.ip == place.ip) {
        return Some(granted.mac);
    }
    let mut nics = desired.containers.values().flat_map(|container| &container.guest.nics);
    nics.find_map(|nic| match nic.attachment {
        Attachment::Managed { vni, ip, mac } if place == Place { vni, ip } => Some(mac),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
