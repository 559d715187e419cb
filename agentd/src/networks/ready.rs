//! Which networks are wholly in place, and with which local endpoints.
//!
//! A guest may only be attached where its guards stand already. Who attaches one waits here for
//! its network and address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::watch;

/// Networks in place by VNI, each with the addresses whose guards stand.
pub type ReadyNetworks = BTreeMap<u32, BTreeSet<Ipv4Addr>>;

/// A view of the networks that are in place. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ready(watch::Receiver<ReadyNetworks>);

/// A network or address that did not get ready in time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The network is not in place on this host.
    #[error(
        "network {vni} was not ready on this host within {} s; `agentd status` tells why",
        waited.as_secs()
    )]
    Network {
        /// The network.
        vni: u32,
        /// How long was waited.
        waited: Duration,
    },
    /// The network is in place but does not know the address as one of this host.
    #[error(
        "address {ip} of network {vni} was not given to this host within {} s",
        waited.as_secs()
    )]
    Address {
        /// The network.
        vni: u32,
        /// The address.
        ip: Ipv4Addr,
        /// How long was waited.
        waited: Duration,
    },
}

impl Ready {
    /// A view and the sender that feeds it.
    #[must_use]
    pub fn channel() -> (watch::Sender<ReadyNetworks>, Self) {
        let (sender, receiver) = watch::channel(ReadyNetworks::new());
        (sender, Self(receiver))
    }

    /// The networks in place now.
    #[must_use]
    pub fn now(&self) -> ReadyNetworks {
        self.0.borrow().clone()
    }

    /// Whether a guest with this address may be attached now.
    #[must_use]
    pub fn has(&self, vni: u32, ip: Ipv4Addr) -> bool {
        self.0.borrow().get(&vni).is_some_and(|addresses| addresses.contains(&ip))
    }

    /// Waits until a guest with this address may be attached, at most for `patience`.
    ///
    /// # Errors
    /// When that did not come about in time.
    pub async fn wait(&self, vni: u32, ip: Ipv4Addr, patience: Duration) -> Result<(), NotReady> {
        let mut receiver = self.0.clone();
        let there = receiver
            .wait_for(|ready| ready.get(&vni).is_some_and(|addresses| addresses.contains(&ip)));
        if let Ok(Ok(_)) = tokio::time::timeout(patience, there).await {
            return Ok(());
        }
        Err(if self.0.borrow().contains_key(&vni) {
            NotReady::Address { vni, ip, waited: patience }
        } else {
            NotReady::Network { vni, waited: patience }
        })
    }

    /// Waits for the next change. False when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_the_address_and_says_what_is_missing() {
        let (sender, ready) = Ready::channel();
        let ip = Ipv4Addr::new(10, 42, 0, 5);
        let (second, moment) = (Duration::from_secs(1), Duration::from_millis(1));
        assert!(matches!(ready.wait(7, ip, moment).await, Err(NotReady::Network { vni: 7, .. })));
        sender.send_replace([(7, BTreeSet::new())].into());
        assert!(matches!(ready.wait(7, ip, moment).await, Err(NotReady::Address { .. })));
        let waiting = tokio::spawn({
            let ready = ready.clone();
            async move { ready.wait(7, ip, 60 * second).await }
        });
        sender.send_replace([(7, BTreeSet::from([ip]))].into());
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert!(ready.has(7, ip));
    }
}
