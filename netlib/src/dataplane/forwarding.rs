//! Finds out whether somebody else's firewall stops what networks send to the outside, without
//! reading that firewall.
//!
//! One datagram to a documentation address goes from a network's namespace through the root
//! namespace. Our table counts it before everybody's filters and after them, where it ends.

use super::{Dataplane, DataplaneError};
use crate::netns;
use crate::nft::NftError;
use crate::nft::command;
use crate::nft::ruleset::TABLE;
use serde_json::Value;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// RFC 5737: never anybody's; the rules count what goes there.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const DISCARD_PORT: u16 = 9;
/// A datagram between two namespaces takes microseconds; a busy machine is given this many looks.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Whether a datagram from a network gets through the root namespace's forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// It does.
    Open,
    /// Somebody else's firewall drops it.
    Blocked,
    /// It does not even get there.
    NoRoute,
}

/// The two counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    early: u64,
    late: u64,
}

impl Dataplane {
    /// Sends one datagram from the network towards the outside and sees how far it gets.
    ///
    /// # Errors
    /// When the network is not here, or the counters cannot be read.
    pub async fn probe_forwarding(&self, vni: u32) -> Result<Forwarding, DataplaneError> {
        let inside = self.inside(vni)?;
        // One pass or probe at a time: a replaced table would start counting anew.
        let _host = self.host.lock().await;
        let inside = inside.lock().await;
        let before = self.seen().await?;
        let sent = netns::within(&inside.namespace.file, || {
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.send_to(&[], (NOWHERE, DISCARD_PORT))
        });
        let failed = |source| DataplaneError::Probe { vni, source };
        match sent.map_err(failed)? {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENETUNREACH) => {
                return Ok(Forwarding::NoRoute);
            }
            Err(error) => return Err(failed(error)),
        }
        let mut after = self.seen().await?;
        for _ in 1..LOOKS {
            if after.late > before.late {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            after = self.seen().await?;
        }
        Ok(match (after.early > before.early, after.late > before.late) {
            (_, true) => Forwarding::Open,
            (true, false) => Forwarding::Blocked,
            (false, false) => Forwarding::NoRoute,
        })
    }

    async fn seen(&self) -> Result<Seen, DataplaneError> {
        let what = ["counters", "table", "inet", TABLE];
        match command::list(&self.root.file, &what).await? {
            Some(listing) => Ok(read(&listing).map_err(NftError::Json)?),
            None => Ok(Seen::default()),
        }
    }
}

fn read(listing: &str) -> Result<Seen, serde_json::Error> {
    let listing: Value = serde_json::from_str(listing)?;
    let mut seen = Seen::default();
    for object in listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let counter = &object["counter"];
        let packets = counter["packets"].as_u64().unwrap_or_default();
        match counter["name"].as_str() {
            Some("seen_early") => seen.early = packets,
            Some("seen_late") => seen.late = packets,
            _ => {}
        }
    }
    Ok(seen)
}
