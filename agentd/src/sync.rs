//! Following controld: one parked request after the other, each the acknowledgement of the last.
//!
//! [`Follower`] is the core: it says what to ask and takes what was heard, without a clock or a
//! socket. [`follow`] drives it. What was accepted is durable in the ledger before it is published.

mod fence;
mod follower;

pub use fence::Fence;
pub use follower::{Contact, Follower, Heard, Next};

use crate::controld::backoff::random;
use crate::controld::client::{CallError, Client, Reply};
use crate::desired::{Desired, chain};
use api::snapshot::Snapshot;
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long controld is asked to park a request, in seconds.
pub const WAIT: u64 = 50;
/// How long an answer may take: the wait with its jitter, and time for a long answer.
const PATIENCE: Duration = Duration::from_secs(WAIT + 25);

/// What following publishes.
#[derive(Clone, Debug)]
pub struct Publish {
    /// What this host should be.
    pub desired: watch::Sender<Arc<Desired>>,
    /// How the last exchange with controld went.
    pub contact: watch::Sender<Contact>,
}

impl Publish {
    /// Publishes the meaning of a snapshot; a host that was fenced keeps its disks and runs nothing.
    pub fn snapshot(&self, snapshot: &Snapshot, fenced: bool) {
        let desired = Desired::read(snapshot);
        let fenced = fenced || desired.host.as_ref().is_some_and(|host| host.fenced);
        self.desired.send_replace(Arc::new(if fenced { desired.fenced() } else { desired }));
    }
}

/// Follows controld until `stop` turns true.
pub async fn follow(
    client: Client,
    host: String,
    mut follower: Follower,
    mut fence: Fence,
    publish: Publish,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let question = follower.question(&host);
        let answer = tokio::select! {
            answer = client.call(Method::GET, &question, Vec::new(), PATIENCE) => answer,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let next = tokio::task::block_in_place(|| follower.hear(heard(answer), random()));
        let fence_changed = fence.set_from(&next.contact);
        if next.changed || fence_changed {
            publish.snapshot(follower.snapshot(), fence.is_set());
        }
        announce(&publish.contact, next.contact);
        tokio::select! {
            () = tokio::time::sleep(next.pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn announce(sender: &watch::Sender<Contact>, contact: Contact) {
    sender.send_if_modified(|held| {
        if *held == contact {
            return false;
        }
        match &contact {
            Contact::Connected => tracing::info!("following controld"),
            other => tracing::warn!("{other}"),
        }
        *held = contact;
        true
    });
}

/// What an answer means, whatever carried it.
fn heard(answer: Result<Reply, CallError>) -> Heard {
    let reply = match answer {
        Ok(reply) => reply,
        Err(error) => return Heard::Away(chain(&error)),
    };
    match reply.status {
        StatusCode::OK => Heard::Answer(reply.body),
        StatusCode::NO_CONTENT => Heard::Nothing,
        StatusCode::TOO_MANY_REQUESTS => Heard::Busy(reply.retry_after),
        status if status.is_server_error() => Heard::Away(reply.refusal().message),
        _ => Heard::Refused(reply.refusal()),
    }
}
