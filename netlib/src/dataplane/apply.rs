//! Carries out a plan: steps in their order, runs of table entries many at a time.

use super::facts::{Kind, Link, Side, Step};
use super::message;
use crate::names::{BRIDGE, UPLINK, VXLAN};
use crate::namespace::Namespace;
use crate::netlink::Manner;
use crate::settings::{self, SettingError};
use futures_util::StreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage as Message;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Entries under way at a time.
const IN_FLIGHT: usize = 64;

/// A step that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused.
    #[error("cannot {step}")]
    Step {
        /// What was to be done.
        step: String,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// The kernel was built without what the step needs.
    #[error("cannot {step}: this kernel lacks what it takes (errno 95, not supported)")]
    Unsupported {
        /// What was to be done.
        step: String,
    },
    /// A device that should be there is not.
    #[error("cannot {step}: there is no device {device}")]
    NoDevice {
        /// What was to be done.
        step: String,
        /// The missing device.
        device: String,
    },
    /// A setting could not be written.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

impl ApplyError {
    fn refused(step: &Step) -> impl FnOnce(io::Error) -> Self {
        let step = step.to_string();
        move |source| match source.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Self::Unsupported { step },
            _ => Self::Step { step, source },
        }
    }
}

/// The two namespaces that a network's plan works in.
#[derive(Debug)]
pub struct Applier<'a> {
    /// The network's own.
    pub inside: &'a Namespace,
    /// The host's.
    pub root: &'a Namespace,
    indices: Mutex<BTreeMap<(Side, String), u32>>,
}

impl<'a> Applier<'a> {
    /// Gets ready to work in two namespaces.
    #[must_use]
    pub fn new(inside: &'a Namespace, root: &'a Namespace) -> Self {
        Self { inside, root, indices: Mutex::default() }
    }

    /// Carries out a plan; returns the number of steps done and the first error. A device that
    /// cannot be made ends it, since what follows leans on it; entries stand each for itself.
    pub async fn apply(&self, steps: &[Step]) -> (u64, Option<ApplyError>) {
        let mut done = 0;
        for run in steps.chunk_by(|a, b| a.is_entry() && b.is_entry()) {
            let mut work = Vec::with_capacity(run.len());
            for step in run {
                work.push(self.step(step));
            }
            let results: Vec<_> = futures_util::stream::iter(work)
                .buffered(IN_FLIGHT)
                .collect::<Vec<Result<(), ApplyError>>>()
                .await;
            let mut failure = None;
            for result in results {
                match result {
                    Ok(()) => done += 1,
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
            if failure.is_some() {
                return (done, failure);
            }
        }
        (done, None)
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// When the kernel refuses it or a device is missing.
    pub async fn step(&self, step: &Step) -> Result<(), ApplyError> {
        match step {
            Step::Set(side, name, value) => {
                Ok(settings::write(&self.namespace(*side).file, name, value)?)
            }
            Step::RemoveLink(side, name) => self.remove_link(step, *side, name).await,
            Step::AddLink(name, link) => self.add_link(step, name, link).await,
            Step::AddTransit(root, link) => {
                let peer = self.root.descriptor();
                let message = message::veth(UPLINK, root, None, peer, link.mtu);
                self.send(step, Side::Inside, Message::NewLink(message), Manner::Create).await
            }
            Step::Adjust(side, name, link) => self.adjust(step, *side, name, link).await,
            Step::AddAddress(side, device, net) => {
                let message = message::address(self.index(step, *side, device).await?, net);
                self.send(step, *side, Message::NewAddress(message), Manner::Replace).await
            }
            Step::RemoveAddress(side, device, net) => {
                let message = message::address(self.index(step, *side, device).await?, net);
                self.remove(step, *side, Message::DelAddress(message)).await
            }
            Step::AddRoute(route) => {
                let index = self.index(step, route.side, &route.device).await?;
                let message = message::route(index, route);
                self.send(step, route.side, Message::NewRoute(message), Manner::Create).await
            }
            Step::RemoveRoute(route) => {
                let index = self.index(step, route.side, &route.device).await?;
                let mut message = message::route(index, route);
                // Someone else may have made it through our device, under another protocol.
                message.header.protocol = netlink_packet_route::route::RouteProtocol::Unspec;
                self.remove(step, route.side, Message::DelRoute(message)).await
            }
            entry => self.entry(entry).await,
        }
    }

    async fn entry(&self, step: &Step) -> Result<(), ApplyError> {
        let device = match step {
            Step::SetForwarding(_, port) | Step::RemoveForwarding(_, port) => port,
            Step::SetTunnel(..) | Step::RemoveTunnel(..) => VXLAN,
            _ => BRIDGE,
        };
        let index = self.index(step, Side::Inside, device).await?;
        let (message, set) = match step {
            Step::SetNeighbour(ip, mac) => (message::neighbour(index, *ip, Some(*mac)), true),
            Step::RemoveNeighbour(ip) => (message::neighbour(index, *ip, None), false),
            Step::SetForwarding(mac, _) => (message::forwarding(index, *mac), true),
            Step::RemoveForwarding(mac, _) => (message::forwarding(index, *mac), false),
            Step::SetTunnel(mac, vtep) => (message::tunnel(index, *mac, *vtep, true), true),
            Step::RemoveTunnel(mac, vtep) => (message::tunnel(index, *mac, *vtep, false), false),
            _ => return Ok(()),
        };
        if set {
            self.send(step, Side::Inside, Message::NewNeighbour(message), Manner::Replace).await
        } else {
            self.remove(step, Side::Inside, Message::DelNeighbour(message)).await
        }
    }

    async fn add_link(&self, step: &Step, name: &str, link: &Link) -> Result<(), ApplyError> {
        // The VXLAN device's socket stays in the namespace that the request comes from.
        let side = match link.kind {
            Kind::Vxlan { .. } => Side::Root,
            _ => Side::Inside,
        };
        match message::device(name, link, self.inside.descriptor()) {
            Some(message) => self.send(step, side, Message::NewLink(message), Manner::Create).await,
            None => Err(ApplyError::NoDevice { step: step.to_string(), device: name.into() }),
        }
    }

    async fn adjust(
        &self,
        step: &Step,
        side: Side,
        name: &str,
        link: &Link,
    ) -> Result<(), ApplyError> {
        let index = self.index(step, side, name).await?;
        if link.kind != Kind::Loopback {
            let bridge = match link.port {
                Some(_) => Some(self.index(step, side, BRIDGE).await?),
                None => None,
            };
            let message = message::basics(index, link, bridge);
            self.send(step, side, Message::SetLink(message), Manner::Change).await?;
        }
        // Flags before the link comes up: not one frame may be flooded or learnt from.
        let message = message::port_and_state(index, link);
        self.send(step, side, Message::NewLink(message), Manner::Change).await
    }

    async fn remove_link(&self, step: &Step, side: Side, name: &str) -> Result<(), ApplyError> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let index = self.namespace(side).index(name).await.map_err(ApplyError::refused(step))?;
        match index {
            Some(index) => self.remove(step, side, Message::DelLink(message::link(index))).await,
            None => Ok(()),
        }
    }

    fn namespace(&self, side: Side) -> &Namespace {
        match side {
            Side::Inside => self.inside,
            Side::Root => self.root,
        }
    }

    async fn index(&self, step: &Step, side: Side, device: &str) -> Result<u32, ApplyError> {
        let key = (side, device.to_owned());
        let known = self.indices.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(index) = known {
            return Ok(index);
        }
        let found = self.namespace(side).index(device).await.map_err(ApplyError::refused(step))?;
        let missing = || ApplyError::NoDevice { step: step.to_string(), device: device.to_owned() };
        let index = found.ok_or_else(missing)?;
        self.indices.lock().unwrap_or_else(PoisonError::into_inner).insert(key, index);
        Ok(index)
    }

    async fn send(
        &self,
        step: &Step,
        side: Side,
        message: RouteNetlinkMessage,
        manner: Manner,
    ) -> Result<(), ApplyError> {
        let netlink = &self.namespace(side).netlink;
        netlink.ask(message, manner).await.map_err(ApplyError::refused(step))
    }

    /// What is gone already needs no removal.
    async fn remove(
        &self,
        step: &Step,
        side: Side,
        message: RouteNetlinkMessage,
    ) -> Result<(), ApplyError> {
        let gone = [libc::ENOENT, libc::ENODEV, libc::ESRCH, libc::EADDRNOTAVAIL];
        match self.namespace(side).netlink.ask(message, Manner::Change).await {
            Err(error) if error.raw_os_error().is_some_and(|code| gone.contains(&code)) => Ok(()),
            other => other.map_err(ApplyError::refused(step)),
        }
    }
}
