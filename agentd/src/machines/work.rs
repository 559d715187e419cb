//! The steps of a machine's life, each safe to break off anywhere and to begin again.
//!
//! The record is written before the step it speaks of. A domain is created held, attached, and only
//! then let go, so that its network is there before its first instruction.

use super::driver::{Driver, DriverError, End};
use super::failure::MachineError;
use super::images::{Images, Progress};
use super::kvm::KvmError;
use super::plan::Wish;
use super::ports::Ports;
use super::record::{Port, Stage};
use super::store::Store;
use crate::config::VirtType;
use crate::desired::Desired;
use crate::reconcile::Wake;
use api::item::{Attachment, Machine};
use netlib::desired::Attach;
use netlib::mac::Mac;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OnceCell, watch};

/// How long a start waits for its networks.
const NETWORK: Duration = Duration::from_secs(30);
/// How long the news of an end may take after the end; the domain's absence is seen at once.
const TOLD: Duration = Duration::from_secs(1);
/// How often the power button is pressed: a guest that still boots does not notice.
const PRESS: Duration = Duration::from_secs(5);

/// What machines are made with.
pub struct Tools {
    /// Runs domains.
    pub driver: Arc<dyn Driver>,
    /// The host's networks.
    pub ports: Arc<dyn Ports>,
    /// The image cache; none on a simulated host, whose machines need no disks.
    pub images: Option<Images>,
    /// The machines' folders.
    pub store: Store,
    /// The storage folder.
    pub storage: PathBuf,
    /// How processors are made.
    pub virt_type: VirtType,
}

/// Everything that steps share.
pub struct Workshop {
    pub(super) tools: Tools,
    pub(super) wake: Wake,
    /// What is wanted, as of the last pass; a start that was overtaken ends.
    pub(super) wishes: watch::Sender<BTreeMap<String, Wish>>,
    /// The domains that exist, as of the last pass; a stop waits for its domain to go.
    pub(super) domains: watch::Sender<BTreeSet<String>>,
    /// How domains ended, as far as it was noticed.
    pub(super) ends: watch::Sender<BTreeMap<String, End>>,
    changes: AtomicU64,
    pub(super) kvm: OnceCell<Result<(), Arc<KvmError>>>,
}

impl Workshop {
    pub(super) fn new(tools: Tools, wake: Wake) -> Self {
        Self {
            tools,
            wake,
            wishes: watch::Sender::default(),
            domains: watch::Sender::default(),
            ends: watch::Sender::default(),
            changes: AtomicU64::new(0),
            kvm: OnceCell::new(),
        }
    }

    /// Calls that changed something since this was last asked.
    pub(super) fn take_changes(&self) -> u64 {
        self.changes.swap(0, Ordering::Relaxed)
    }

    pub(super) fn changed(&self, really: bool) {
        self.changes.fetch_add(u64::from(really), Ordering::Relaxed);
    }

    /// Makes what is missing and starts the machine.
    pub(super) async fn start(
        &self,
        machine: &Machine,
        again: bool,
        desired: &Desired,
        progress: Progress,
    ) -> Result<(), MachineError> {
        let guest = &machine.guest;
        let mut record = self.tools.store.read(&guest.uuid)?.record;
        let preparing = self.prepare(machine, desired, &mut record, progress);
        let xml = self.unless_overtaken(machine, preparing).await?;
        record.restarts = match again {
            true => record.restarts.saturating_add(1),
            false if record.epoch == guest.epoch => record.restarts,
            false => 0,
        };
        (record.epoch, record.stage, record.exit) = (guest.epoch, Stage::Begun, None);
        let ports = ports_of(machine);
        let old = record.ports.iter().filter(|port| !ports.contains(port)).copied();
        record.ports = old.chain(ports.iter().copied()).collect();
        self.tools.store.write(&guest.uuid, &record)?;
        let outcome = self.bring_up(machine, &xml, &ports, desired).await;
        if outcome.as_ref().is_err_and(|error| !may_still_come(error)) {
            // Everything is made anew next time; what cannot be undone now is in the record.
            let _ = self.tools.driver.destroy(&guest.uuid).await;
            let _ = self.close(&record.ports).await;
        }
        outcome
    }

    async fn bring_up(
        &self,
        machine: &Machine,
        xml: &str,
        ports: &[Port],
        desired: &Desired,
    ) -> Result<(), MachineError> {
        for port in ports {
            let opening = self.tools.ports.open(*port, NETWORK);
            let made = self.unless_overtaken(machine, async { Ok(opening.await?) }).await?;
            self.changed(made);
        }
        let label = self.label(machine);
        self.tools.driver.create(&machine.guest.uuid, &label, xml).await?;
        self.changed(true);
        self.release(machine, desired).await
    }

    /// Gives up when something else is wanted by now. Only for work that leaves nothing behind.
    async fn unless_overtaken<T>(
        &self,
        machine: &Machine,
        work: impl Future<Output = Result<T, MachineError>>,
    ) -> Result<T, MachineError> {
        let mut wishes = self.wishes.subscribe();
        let wish = Wish::of(&machine.guest);
        let other = wishes.wait_for(|wishes| wishes.get(&machine.guest.uuid) != Some(&wish));
        tokio::select! {
            outcome = work => outcome,
            _ = other => Err(MachineError::Overtaken),
        }
    }

    /// Attaches a domain that exists, and lets it run.
    pub(super) async fn release(
        &self,
        machine: &Machine,
        desired: &Desired,
    ) -> Result<(), MachineError> {
        let uuid = &machine.guest.uuid;
        let mut record = self.tools.store.read(uuid)?.record;
        if record.ports.is_empty() {
            record.ports = ports_of(machine);
        }
        record.epoch = machine.guest.epoch;
        for attach in attachments(machine, desired)? {
            self.tools.ports.attach(&attach).await?;
            self.changed(true);
        }
        record.stage = Stage::Released;
        self.tools.store.write(uuid, &record)?;
        self.tools.driver.resume(uuid).await?;
        self.changed(true);
        record.stage = Stage::Running;
        self.tools.store.write(uuid, &record)?;
        Ok(())
    }

    /// Presses the power button for so many seconds, then pulls the plug.
    pub(super) async fn stop(&self, uuid: &str, patience: u32) -> Result<(), MachineError> {
        let mut domains = self.domains.subscribe();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(patience.into());
        while tokio::time::Instant::now() < deadline {
            if let Err(error) = self.tools.driver.shutdown(uuid).await {
                // It may have ended just now; if not, the plug is pulled in the end.
                tracing::debug!("{}", crate::desired::chain(&error));
            }
            self.changed(true);
            let again = deadline.min(tokio::time::Instant::now() + PRESS);
            let gone = domains.wait_for(|domains| !domains.contains(uuid));
            if tokio::time::timeout_at(again, gone).await.is_ok() {
                break;
            }
            // Should the event have been lost, the pass that this asks for sees that it has gone.
            self.wake.wake();
        }
        let destroyed = self.tools.driver.destroy(uuid).await?;
        self.changed(destroyed);
        let end = if destroyed { End::Destroyed } else { End::ShutDown };
        self.ended(uuid, Some(end)).await
    }

    /// Remembers that a machine ended by itself, and how, as soon as libvirt tells.
    pub(super) async fn note_end(&self, uuid: &str) -> Result<(), MachineError> {
        let mut ends = self.ends.subscribe();
        let told = ends.wait_for(|ends| ends.contains_key(uuid));
        let told = tokio::time::timeout(TOLD, told).await.is_ok_and(|told| told.is_ok());
        let end = if told { self.ends.borrow().get(uuid).copied() } else { None };
        self.ended(uuid, end).await
    }

    /// Remembers that a machine's epoch has ended, and gives its devices back.
    async fn ended(&self, uuid: &str, end: Option<End>) -> Result<(), MachineError> {
        let mut record = self.tools.store.read(uuid)?.record;
        if record.stage > Stage::New {
            record.stage = Stage::Ended;
            record.exit = end.map(End::status);
            self.tools.store.write(uuid, &record)?;
        }
        self.ends.send_modify(|ends| {
            ends.remove(uuid);
        });
        self.free(uuid, false).await
    }

    /// Gives a machine's devices back, and its config drive when it is retained.
    pub(super) async fn free(&self, uuid: &str, retained: bool) -> Result<(), MachineError> {
        let mut record = self.tools.store.read(uuid)?.record;
        if !record.ports.is_empty() {
            self.close(&record.ports).await?;
            record.ports.clear();
            self.tools.store.write(uuid, &record)?;
        }
        if retained {
            self.changed(self.tools.store.remove_drive(uuid)?);
        }
        Ok(())
    }

    /// Removes everything of a machine.
    pub(super) async fn remove(&self, uuid: &str) -> Result<(), MachineError> {
        self.changed(self.tools.driver.destroy(uuid).await?);
        // A record that cannot be read names no devices; they go with their networks.
        if let Ok(stored) = self.tools.store.read(uuid) {
            self.close(&stored.record.ports).await?;
        }
        self.changed(self.tools.store.remove(uuid)?);
        self.ends.send_modify(|ends| {
            ends.remove(uuid);
        });
        Ok(())
    }

    async fn close(&self, ports: &[Port]) -> Result<(), MachineError> {
        for port in ports {
            self.changed(self.tools.ports.close(*port).await?);
        }
        Ok(())
    }
}

/// Whether the domain may be there after all: the next pass goes on with it, held as it is.
fn may_still_come(error: &MachineError) -> bool {
    matches!(error, MachineError::Driver(DriverError::Deadline { .. }))
}

fn ports_of(machine: &Machine) -> Vec<Port> {
    let nics = machine.guest.nics.iter();
    nics.filter_map(|nic| match nic.attachment {
        Attachment::Managed { vni, ip, .. } => Some(Port { vni, ip }),
        Attachment::Unmanaged { .. } => None,
    })
    .collect()
}

fn attachments(machine: &Machine, desired: &Desired) -> Result<Vec<Attach>, MachineError> {
    let mut attachments = Vec::new();
    for nic in &machine.guest.nics {
        let Attachment::Managed { vni, ip, mac } = &nic.attachment else { continue };
        let network = desired.networks.get(vni).ok_or(MachineError::NoNetwork { vni: *vni })?;
        attachments.push(Attach { vni: *vni, ip: *ip, mac: Mac(mac.0), mtu: network.mtu });
    }
    Ok(attachments)
}
