//! The daemon: opens the cloud, listens for clients, agents and the operator, and ends cleanly.

use crate::agents::{self, TlsError};
use crate::config::Config;
use crate::core::{Core, OpenError};
use crate::operator::{self, OperatorError};
use crate::{housekeeping, rest};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long an end may take until what is left is given up.
const END: Duration = Duration::from_secs(8);

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the store open.
    #[error("another controld uses {0}")]
    Running(PathBuf),
    /// The cloud cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operator's lock or socket cannot be made.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The agents' port cannot have TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store's writer or a listener ended by itself.
    #[error("a part of controld broke down, the log says which: it is of no use without it")]
    Broken,
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signal(#[source] std::io::Error),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, or a part of it breaks down.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let lock =
        operator::lock(&config.data)?.ok_or_else(|| ServeError::Running(config.data.clone()))?;
    let (core, mut closed) = Core::open_idle(&config.data, config.settings()).await?;
    let tls = agents::acceptor(&core.0.authority, &names(&config))?;
    let (clients, clients_at) = bind(config.listen).await?;
    let (hosts, hosts_at) = bind(config.agent_listen).await?;
    let wishes = operator::listen(&config.data, core.clone())?;
    housekeeping::start(core.clone());
    let (stop, stopping) = watch::channel(false);
    let options = rest::Options {
        everybody: config.open.then(|| core.admin()),
        hosts: config.hosts.clone(),
        forwarded: config.forwarded,
        fallback: clients_at.to_string(),
    };
    let mut ending = stopping.clone();
    let mut api = tokio::spawn(rest::serve(clients, core.clone(), options, async move {
        let _ = ending.wait_for(|stop| *stop).await;
    }));
    let mut port = tokio::spawn(agents::serve(hosts, tls, core.clone(), stopping));
    let data = config.data.display();
    let open = config.open;
    tracing::info!(api = %clients_at, agents = %hosts_at, %data, open, "controld serves");
    notify(&[sd_notify::NotifyState::Ready]);
    let asked = tokio::select! {
        _ = terminate.recv() => true,
        _ = interrupt.recv() => true,
        _ = &mut api => false,
        _ = &mut port => false,
        _ = &mut closed => false,
    };
    tracing::info!("controld ends");
    notify(&[sd_notify::NotifyState::Stopping]);
    stop.send_replace(true);
    wishes.abort();
    drop(core);
    end([api, port, closed]).await;
    drop(lock);
    if asked { Ok(()) } else { Err(ServeError::Broken) }
}

/// Waits for the servers, then for the writer, which ends with the last handle to the core and
/// closes the store.
async fn end(tasks: [JoinHandle<()>; 3]) {
    let all = async {
        for task in tasks.into_iter().filter(|task| !task.is_finished()) {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(END, all).await.is_err() {
        tracing::warn!("some requests did not end in time; what was committed is safe");
    }
}

/// A listener and the address it got, which is another one when port 0 was asked for.
async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::debug!(%error, "service manager not told");
    }
}

/// What the certificate of the agents' port is good for: this machine's name and addresses.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()));
    let listen = config.agent_listen.ip();
    if listen.is_unspecified() {
        names.extend(own_addresses());
    } else {
        names.push(listen.to_string());
    }
    names.extend(config.names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

fn own_addresses() -> Vec<String> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| address.ip().to_string());
            v4.or_else(|| Some(address.as_sockaddr_in6()?.ip().to_string()))
        })
        .collect()
}
