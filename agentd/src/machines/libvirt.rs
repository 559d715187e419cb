//! The driver that runs machines through libvirt.
//!
//! Every libvirt call blocks, so each runs on a thread of the runtime's blocking pool, a few at a
//! time, and has a deadline. A call that outlives its deadline keeps its place until it returns,
//! so a hung libvirt cannot eat all threads. What such a call did is seen by the next observation.

use super::driver::{Domain, DomainState, Driver, DriverError, End, Label, Observation};
use super::events::{self, Subscription};
use super::label;
use crate::reconcile::Wake;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use virt::connect::Connect;
use virt::domain::Domain as Handle;
use virt::error::{Error, ErrorNumber};
use virt::sys;

/// How long a libvirt call may take. Creating a domain takes seconds when libvirt first asks QEMU
/// for its abilities.
const DEADLINE: Duration = Duration::from_secs(120);
/// Calls under way at once.
const CALLS: usize = 8;

/// libvirt at one URI. The connection is made when needed and made again when it is lost.
#[derive(Clone, Debug)]
pub struct Libvirt {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    uri: String,
    storage: String,
    wake: Wake,
    connection: Mutex<Option<Connection>>,
    calls: Arc<Semaphore>,
}

#[derive(Clone, Debug)]
struct Connection {
    connect: Connect,
    events: Arc<Subscription>,
}

impl Libvirt {
    /// The domains labelled with `storage` at the libvirt of `uri`. `wake` is woken when any domain
    /// starts or ends.
    #[must_use]
    pub fn new(uri: &str, storage: &Path, wake: Wake) -> Self {
        let shared = Shared {
            uri: uri.into(),
            storage: storage.display().to_string(),
            wake,
            connection: Mutex::default(),
            calls: Arc::new(Semaphore::new(CALLS)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// libvirt's version and QEMU's, as text.
    ///
    /// # Errors
    /// When libvirt cannot be reached.
    pub async fn version(&self) -> Result<String, DriverError> {
        let action = format!("ask libvirt at {} for its version", self.shared.uri);
        self.call(action, |shared| {
            let connect = shared.connection()?.connect;
            let text = |number: u32| {
                format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
            };
            let libvirt = text(connect.get_lib_version()?);
            Ok(format!("libvirt {libvirt}, qemu {}", text(connect.get_hyp_version()?)))
        })
        .await
    }

    /// Runs a blocking call with a deadline.
    async fn call<T: Send + 'static>(
        &self,
        action: String,
        work: impl FnOnce(&Shared) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, DriverError> {
        let shared = Arc::clone(&self.shared);
        let calls = Arc::clone(&self.shared.calls);
        let whole = async move {
            let permit = calls.acquire_owned().await;
            let call = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                work(&shared)
            });
            call.await
        };
        match tokio::time::timeout(DEADLINE, whole).await {
            Err(_) => Err(DriverError::Deadline { action, seconds: DEADLINE.as_secs() }),
            Ok(Err(_)) => Err(DriverError::Panicked { action }),
            Ok(Ok(result)) => result.map_err(|failure| match failure {
                Failure::Named(error) => error,
                Failure::Libvirt(source) => DriverError::Libvirt { action, source },
            }),
        }
    }
}

/// How a blocking call fails: with an error of its own, or with libvirt's that needs the action.
enum Failure {
    Named(DriverError),
    Libvirt(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

impl Shared {
    /// The open connection, or a new one when there is none that lives.
    fn connection(&self) -> Result<Connection, Error> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = held.as_ref()
            && connection.connect.is_alive().unwrap_or(false)
        {
            return Ok(connection.clone());
        }
        // The old one goes first, since it holds a subscription.
        held.take();
        events::run_loop()?;
        let connect = Connect::open(Some(&self.uri))?;
        // Without keep-alive messages a connection to a daemon that died looks idle. Drivers
        // without a connection to keep alive refuse.
        let _ = connect.set_keep_alive(5, 3);
        let events = Arc::new(Subscription::new(&connect, self.wake.clone())?);
        let connection = Connection { connect, events };
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Our domain of this uuid, or nothing when there is none.
    fn find(&self, uuid: &str) -> Result<Option<Handle>, Failure> {
        let connect = self.connection()?.connect;
        let handle = match Handle::lookup_by_uuid_string(&connect, uuid) {
            Ok(handle) => handle,
            Err(error) if error.code() == ErrorNumber::NoDomain => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match self.label_of(&handle)? {
            Some(_) => Ok(Some(handle)),
            None => Err(Failure::Named(DriverError::Foreign { uuid: uuid.into() })),
        }
    }

    fn must_find(&self, uuid: &str) -> Result<Handle, Failure> {
        let absent = || Failure::Named(DriverError::Absent { uuid: uuid.into() });
        self.find(uuid)?.ok_or_else(absent)
    }

    /// The label of a domain of this agent, or nothing for somebody else's.
    fn label_of(&self, handle: &Handle) -> Result<Option<Label>, Error> {
        let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
        match handle.get_metadata(kind, Some(label::NAMESPACE), 0) {
            Ok(element) => Ok(label::read(&element).filter(|label| label.storage == self.storage)),
            Err(error) if gone(&error) || error.code() == ErrorNumber::NoDomainMetadata => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn observe(&self) -> Result<Observation, Failure> {
        let connection = self.connection()?;
        let mut domains = BTreeMap::new();
        for handle in connection.connect.list_all_domains(0)? {
            let Some(label) = self.label_of(&handle)? else { continue };
            let state = match handle.get_state() {
                Ok((state, _)) => state_of(state),
                Err(error) if gone(&error) => continue,
                Err(error) => return Err(error.into()),
            };
            domains.insert(handle.get_uuid_string()?, Domain { state, label });
        }
        Ok(Observation { domains, ended: connection.events.take_ended() })
    }
}

fn state_of(state: sys::virDomainState) -> DomainState {
    match state {
        sys::VIR_DOMAIN_PAUSED => DomainState::Paused,
        sys::VIR_DOMAIN_SHUTOFF | sys::VIR_DOMAIN_CRASHED => DomainState::Dead,
        _ => DomainState::Running,
    }
}

/// Whether a call failed because the domain ended meanwhile.
fn gone(error: &Error) -> bool {
    matches!(error.code(), ErrorNumber::NoDomain)
}

#[async_trait::async_trait]
impl Driver for Libvirt {
    async fn observe(&self) -> Result<Observation, DriverError> {
        self.call(format!("list the domains of {}", self.shared.uri), Shared::observe).await
    }

    async fn create(&self, uuid: &str, _label: &Label, xml: &str) -> Result<(), DriverError> {
        let (id, xml) = (uuid.to_owned(), xml.to_owned());
        self.call(format!("create domain {uuid}"), move |shared| {
            // A call that outlived its deadline may have made it: `find` tells ours from others'.
            if shared.find(&id)?.is_some() {
                return Ok(());
            }
            let connect = shared.connection()?.connect;
            Handle::create_xml(&connect, &xml, sys::VIR_DOMAIN_START_PAUSED)?;
            Ok(())
        })
        .await
    }

    async fn resume(&self, uuid: &str) -> Result<(), DriverError> {
        let id = uuid.to_owned();
        self.call(format!("resume domain {uuid}"), move |shared| {
            let handle = shared.must_find(&id)?;
            if handle.get_state()?.0 == sys::VIR_DOMAIN_PAUSED {
                handle.resume()?;
            }
            Ok(())
        })
        .await
    }

    async fn shutdown(&self, uuid: &str) -> Result<(), DriverError> {
        let id = uuid.to_owned();
        self.call(format!("shut domain {uuid} down"), move |shared| {
            let handle = shared.must_find(&id)?;
            handle.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)?;
            Ok(())
        })
        .await
    }

    async fn destroy(&self, uuid: &str) -> Result<bool, DriverError> {
        let id = uuid.to_owned();
        self.call(format!("destroy domain {uuid}"), move |shared| {
            let Some(handle) = shared.find(&id)? else { return Ok(false) };
            match handle.destroy() {
                Ok(()) => Ok(true),
                Err(error) if gone(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

/// Asks the libvirt at `uri` for its version and QEMU's.
///
/// # Errors
/// When it cannot be reached.
pub async fn probe(uri: &str) -> Result<String, DriverError> {
    Libvirt::new(uri, Path::new(""), Wake::default()).version().await
}

/// Why a domain ended, in libvirt's numbers for the detail of a stop.
pub(super) fn end_of(detail: i32) -> End {
    match u32::try_from(detail) {
        Ok(sys::VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) => End::ShutDown,
        Ok(sys::VIR_DOMAIN_EVENT_STOPPED_DESTROYED) => End::Destroyed,
        _ => End::Crashed,
    }
}
