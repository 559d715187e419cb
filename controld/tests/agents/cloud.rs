//! A controld in a temporary folder that listens to agents.

use controld::agents;
use controld::core::{Core, Created, Fields, Settings, View};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running controld.
pub struct Cloud {
    pub core: Core,
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    port: JoinHandle<()>,
    closed: JoinHandle<()>,
}

/// Removed things are purged by hand, and addresses do not rest.
pub fn settings() -> Settings {
    Settings { address_rest: Duration::ZERO, ..Settings::default() }
}

impl Cloud {
    pub async fn open(data: &Path, settings: Settings) -> Self {
        let (core, closed) = Core::open_idle(data, settings).await.unwrap();
        controld::housekeeping::start(core.clone());
        let tls = agents::acceptor(core.authority(), &["127.0.0.1".into()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        let port = tokio::spawn(agents::serve(listener, tls, core.clone(), stopping));
        Self { core, address, stop, port, closed }
    }

    /// Ends it as SIGTERM does; the store is closed afterwards.
    pub async fn close(self) {
        self.stop.send_replace(true);
        self.port.await.unwrap();
        drop(self.core);
        tokio::time::timeout(PATIENCE, self.closed).await.expect("the store is closed").unwrap();
    }

    pub async fn token(&self, uses: Option<u32>, valid: i64) -> (i64, String) {
        let expires = controld::clock::now() + valid * 1000;
        let admin = self.core.admin();
        self.core.create_token(&admin, Fields::new(), Some(expires), uses).await.unwrap()
    }

    pub async fn create(&self, kind: &str, fields: Value) -> View {
        let fields = fields.as_object().cloned().unwrap();
        match self.core.create(&self.core.admin(), kind, fields, None).await.unwrap() {
            Created::One(view) => view,
            Created::Many(_) => panic!("one {kind} is wanted"),
        }
    }

    pub fn get(&self, view: &View) -> View {
        self.core.get(&self.core.admin(), view.kind, &view.id).unwrap()
    }

    pub async fn act(&self, view: &View, action: &str) -> View {
        let admin = self.core.admin();
        self.core.act(&admin, view.kind, &view.id, action, Fields::new()).await.unwrap()
    }

    /// Waits until a resource is as wanted.
    pub async fn until(&self, view: &View, wanted: impl Fn(&View) -> bool) -> View {
        let mut changed = self.core.changed();
        let reached = async {
            loop {
                changed.mark_unchanged();
                let now = self.get(view);
                if wanted(&now) {
                    return now;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, reached).await {
            Ok(view) => view,
            Err(_) => panic!("not in time: {:?}", self.get(view)),
        }
    }

    /// Waits until a resource is in a state.
    pub async fn state(&self, view: &View, state: &str) -> View {
        self.until(view, |view| text(view, "state") == state).await
    }
}

/// A field that is a text, or nothing.
pub fn text<'a>(view: &'a View, field: &str) -> &'a str {
    view.fields.get(field).and_then(Value::as_str).unwrap_or_default()
}
