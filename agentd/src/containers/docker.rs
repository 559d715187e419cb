//! Docker as a container engine.
//!
//! Owns the connection and the deadlines; the shapes of requests and answers are in
//! [`super::docker_model`]. Talks to Docker without naming an API version, so the daemon's own
//! version counts; tried with 20.10.

use super::creation::{Attached, Creation};
use super::docker_model as model;
use super::driver::{
    DockerNetwork, Driver, DriverError, Observation, RunInfo, RunState, VOLUME_LABEL,
};
use super::interruptions::Interruptions;
use super::volumes::Source;
use api::report::ErrorKind;
use bollard::errors::Error as DockerError;
use bollard::models::{NetworkConnectRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, EventsOptions, ListContainersOptions,
    ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions, RemoveVolumeOptions,
    StartContainerOptions, StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Every call but a download ends within this time.
const DEADLINE: Duration = Duration::from_secs(60);
/// A download may go on as long as it moves within this time.
const PULL_PROGRESS: Duration = Duration::from_secs(300);
/// Pauses between attempts to listen to Docker's events.
const EVENTS_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Looks after an event and the quiet after it: Docker tells of an end before its lists show it.
const ECHOES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

/// A Docker daemon behind a Unix socket.
#[derive(Clone)]
pub struct DockerDriver {
    socket: PathBuf,
    client: Arc<OnceLock<Docker>>,
    changed: Arc<Notify>,
    known: Arc<Mutex<Interruptions>>,
}

impl DockerDriver {
    /// A driver for the daemon at `socket`, which may come and go.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.into(),
            client: Arc::default(),
            changed: Arc::default(),
            known: Arc::default(),
        }
    }

    /// Listens to Docker's events until the returned task is aborted.
    #[must_use]
    pub fn listen(&self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(listen(self.clone()))
    }

    fn known(&self) -> MutexGuard<'_, Interruptions> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn client(&self) -> Result<Docker, DockerError> {
        if let Some(client) = self.client.get() {
            return Ok(client.clone());
        }
        let path = self.socket.display().to_string();
        let client = Docker::connect_with_unix(&path, DEADLINE.as_secs(), API_DEFAULT_VERSION)?;
        Ok(self.client.get_or_init(|| client).clone())
    }

    async fn call<T, F: Future<Output = Result<T, DockerError>>>(
        &self,
        action: &'static str,
        object: impl Into<String>,
        call: impl FnOnce(Docker) -> F,
    ) -> Result<T, DriverError> {
        let failed = |error: Failure| DriverError {
            action,
            object: object.into(),
            kind: error.kind(),
            source: Box::new(error),
        };
        let client = self.client().map_err(Failure::Docker);
        match client {
            Ok(client) => match tokio::time::timeout(DEADLINE, call(client)).await {
                Ok(answer) => answer.map_err(|error| failed(Failure::Docker(error))),
                Err(_) => Err(failed(Failure::TooLate)),
            },
            Err(error) => Err(failed(error)),
        }
    }

    async fn ensure_volume(&self, name: &str) -> Result<(), DriverError> {
        let present = self
            .call("look for volume", name, |docker| async move {
                found(docker.inspect_volume(name).await)
            })
            .await?;
        match present {
            Some(volume) if volume.labels.contains_key(VOLUME_LABEL) => Ok(()),
            Some(_) => Err(DriverError {
                action: "use volume",
                object: name.into(),
                kind: ErrorKind::ConflictWithForeign,
                source: Box::new(Failure::ForeignVolume),
            }),
            None => {
                let request = VolumeCreateRequest {
                    name: Some(name.into()),
                    labels: Some([(VOLUME_LABEL.to_owned(), "1".to_owned())].into()),
                    ..VolumeCreateRequest::default()
                };
                let create = |docker: Docker| async move { docker.create_volume(request).await };
                self.call("make volume", name, create).await.map(drop)
            }
        }
    }

    async fn connect_others(&self, id: &str, creation: &Creation) -> Result<(), DriverError> {
        let Attached::Managed(pins) = &creation.network else { return Ok(()) };
        for pin in pins.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: id.into(),
                endpoint_config: Some(model::endpoint(pin)),
            };
            let network = pin.network.clone();
            let connect =
                |docker: Docker| async move { docker.connect_network(&network, request).await };
            self.call("attach to its networks container", &creation.name, connect).await?;
        }
        Ok(())
    }

    async fn pull(
        &self,
        reference: &str,
        progress: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<(), Failure> {
        // A download answers only when it begins to move.
        let client = self.client()?.with_timeout(PULL_PROGRESS + Duration::from_secs(10));
        let options = CreateImageOptions {
            from_image: Some(model::with_tag(reference)),
            ..CreateImageOptions::default()
        };
        let mut layers = model::Layers::default();
        let mut stream = Box::pin(client.create_image(Some(options), None, None));
        loop {
            match tokio::time::timeout(PULL_PROGRESS, stream.next()).await {
                Err(_) => return Err(Failure::Stalled),
                Ok(None) => return Ok(()),
                Ok(Some(message)) => progress(layers.percent(&message?)),
            }
        }
    }
}

/// Why a call failed, beyond what Docker says.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error("Docker did not answer within {} s", DEADLINE.as_secs())]
    TooLate,
    #[error("the download did not move for {} s", PULL_PROGRESS.as_secs())]
    Stalled,
    #[error("there is one of this name that Stampede did not make; remove or rename it")]
    ForeignVolume,
}

impl Failure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Docker(error) => model::kind(error),
            Self::TooLate | Self::Stalled => ErrorKind::Transient,
            Self::ForeignVolume => ErrorKind::ConflictWithForeign,
        }
    }
}

/// An answer of which "no such thing" is a part.
fn found<T>(answer: Result<T, DockerError>) -> Result<Option<T>, DockerError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[async_trait::async_trait]
impl Driver for DockerDriver {
    async fn observe(&self) -> Result<Observation, DriverError> {
        let networks = self.call("list", "Docker's networks", |docker| async move {
            docker.list_networks(None::<ListNetworksOptions>).await
        });
        let networks = networks.await?;
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let list = |docker: Docker| async move { docker.list_containers(Some(all)).await };
        let containers = self.call("list", "Docker's containers", list).await?;
        let filters = HashMap::from([("label".to_owned(), vec![VOLUME_LABEL.to_owned()])]);
        let ours = ListVolumesOptions { filters: Some(filters) };
        let list = |docker: Docker| async move { docker.list_volumes(Some(ours)).await };
        let volumes = self.call("list", "Docker's volumes", list).await?;
        let volumes = volumes.volumes.unwrap_or_default();
        let seen = model::observation(networks, containers, volumes);
        let running = seen.containers.iter().filter(|(_, held)| held.state == RunState::Running);
        self.known().observed(running.map(|(id, _)| id.clone()).collect());
        Ok(seen)
    }

    async fn create_network(&self, network: &DockerNetwork) -> Result<(), DriverError> {
        let request = model::network(network);
        let create = |docker: Docker| async move { docker.create_network(request).await };
        self.call("make Docker network", &network.name, create).await.map(drop)
    }

    async fn remove_network(&self, id: &str) -> Result<(), DriverError> {
        self.call("remove Docker network", id, |docker| async move {
            found(docker.remove_network(id).await).map(drop)
        })
        .await
    }

    async fn ensure_image(
        &self,
        reference: &str,
        progress: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<(), DriverError> {
        let present = self.call("look for image", reference, |docker| async move {
            found(docker.inspect_image(reference).await)
        });
        if present.await?.is_some() {
            return Ok(());
        }
        self.pull(reference, progress).await.map_err(|error| DriverError {
            action: "download image",
            object: reference.into(),
            kind: match &error {
                Failure::Docker(error) => model::pull_kind(error),
                other => other.kind(),
            },
            source: Box::new(error),
        })
    }

    async fn create(&self, creation: &Creation) -> Result<String, DriverError> {
        for volume in &creation.volumes {
            if let Source::Named(name) = &volume.source {
                self.ensure_volume(name).await?;
            }
        }
        let options = CreateContainerOptions {
            name: Some(creation.name.clone()),
            ..CreateContainerOptions::default()
        };
        let body = model::container(creation);
        let create =
            |docker: Docker| async move { docker.create_container(Some(options), body).await };
        let id = self.call("make container", &creation.name, create).await?.id;
        if let Err(error) = self.connect_others(&id, creation).await {
            // Half-attached it would start on half of its networks.
            if let Err(error) = self.remove(&id).await {
                tracing::warn!(%error, "a half-made container stays behind until the next look");
            }
            return Err(error);
        }
        Ok(id)
    }

    async fn inspect(&self, id: &str) -> Result<Option<RunInfo>, DriverError> {
        let inspected = self
            .call("inspect container", id, |docker| async move {
                found(docker.inspect_container(id, None).await)
            })
            .await?;
        Ok(inspected.map(|container| model::run_info(container, &self.known())))
    }

    async fn start(&self, id: &str) -> Result<(), DriverError> {
        self.call("start container", id, |docker| async move {
            docker.start_container(id, None::<StartContainerOptions>).await
        })
        .await
    }

    async fn stop(&self, id: &str, timeout: Option<u32>) -> Result<(), DriverError> {
        // Docker answers when the container has stopped.
        let patience = timeout
            .map_or(10 * DEADLINE, |timeout| DEADLINE + Duration::from_secs(u64::from(timeout)));
        let failed = |error: Failure| DriverError {
            action: "stop container",
            object: id.into(),
            kind: error.kind(),
            source: Box::new(error),
        };
        let client = self.client().map_err(|error| failed(error.into()))?;
        let options = StopContainerOptions {
            t: timeout.and_then(|timeout| timeout.try_into().ok()),
            ..StopContainerOptions::default()
        };
        let stopped = client.with_timeout(patience).stop_container(id, Some(options)).await;
        found(stopped).map(drop).map_err(|error| failed(error.into()))
    }

    async fn remove(&self, id: &str) -> Result<(), DriverError> {
        let options =
            RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
        self.call("remove container", id, |docker| async move {
            found(docker.remove_container(id, Some(options)).await).map(drop)
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), DriverError> {
        self.call("remove volume", name, |docker| async move {
            found(docker.remove_volume(name, None::<RemoveVolumeOptions>).await).map(drop)
        })
        .await
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

async fn listen(driver: DockerDriver) {
    let (first_pause, last_pause) = EVENTS_PAUSE;
    let mut pause = first_pause;
    loop {
        if let Ok(client) = driver.client() {
            let kinds = ["container", "network", "daemon"].map(str::to_owned).to_vec();
            let filters = Some(HashMap::from([("type".to_owned(), kinds)]));
            let options = EventsOptions { filters, ..EventsOptions::default() };
            let mut events = Box::pin(client.events(Some(options)));
            // Reachable again, or not: both are worth a look.
            driver.changed.notify_one();
            let mut echoes = ECHOES.iter();
            loop {
                let echo = echoes.as_slice().first().copied().unwrap_or(Duration::MAX);
                match tokio::time::timeout(echo, events.next()).await {
                    Err(_) => {
                        echoes.next();
                        driver.changed.notify_one();
                    }
                    Ok(Some(Ok(event))) if model::is_noise(&event) => {}
                    Ok(Some(Ok(event))) => {
                        if let (Some(action), Some(actor)) = (&event.action, &event.actor) {
                            let id = actor.id.as_deref().unwrap_or_default();
                            driver.known().event(action, id, Instant::now());
                        }
                        (pause, echoes) = (first_pause, ECHOES.iter());
                        driver.changed.notify_one();
                    }
                    Ok(Some(Err(_)) | None) => break,
                }
            }
            driver.known().disconnected(Instant::now());
            driver.changed.notify_one();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(last_pause);
    }
}

/// The version of the Docker daemon at `socket`, if it works.
///
/// # Errors
/// When nothing answers there, or not as Docker does.
pub async fn probe(socket: &Path) -> Result<String, DriverError> {
    let driver = DockerDriver::new(socket);
    let object = format!("Docker at {}", socket.display());
    let version = driver.call("reach", object, |docker| async move { docker.version().await });
    Ok(version.await?.version.unwrap_or_default())
}
