//! Sending reports.

use super::Sources;
use crate::controld::backoff::{Backoff, random};
use crate::controld::client::Client;
use crate::desired::chain;
use api::report::Report;
use http::Method;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Reports are sent no faster than this; what changes meanwhile travels together.
const SPACING: Duration = Duration::from_millis(100);
/// An unchanged report is sent again after this long.
const PERIOD: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends reports until `stop` turns true.
pub async fn send(
    client: Client,
    host: String,
    mut sources: Sources,
    mut stop: watch::Receiver<bool>,
) {
    let path = format!("/v1/agent/{host}/observed");
    // What is not known yet must not look as if it were gone: controld would tell other hosts.
    tokio::select! {
        () = sources.settled() => {}
        _ = stop.wait_for(|stop| *stop) => return,
    }
    let mut boot = client.boot();
    let mut backoff = Backoff::default();
    let mut sent: Option<Report> = None;
    let mut seq = 0;
    let mut due = Instant::now();
    loop {
        let report = sources.report();
        let anew = boot.has_changed().unwrap_or(false) || Instant::now() >= due;
        let mut pause = SPACING;
        if anew || sent.as_ref() != Some(&report) {
            seq += 1;
            // The answer to a report may be the first one of a new controld; that one has the
            // report then.
            let delivered = deliver(&client, &path, &report, seq).await;
            boot.mark_unchanged();
            match delivered {
                Ok(()) => {
                    sent = Some(report);
                    due = Instant::now() + PERIOD;
                    backoff.succeeded();
                }
                Err(why) => {
                    tracing::debug!("cannot send a report: {why}");
                    sent = None;
                    pause = SPACING + backoff.failed(random());
                }
            }
        }
        let idle = sent.is_some();
        tokio::select! {
            () = sources.changed(), if idle => {}
            Ok(()) = boot.changed(), if idle => boot.mark_changed(),
            () = tokio::time::sleep_until(due), if idle => {}
            () = std::future::ready(()), if !idle => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn deliver(client: &Client, path: &str, report: &Report, seq: u64) -> Result<(), String> {
    let report = Report { seq, ..report.clone() };
    let body = serde_json::to_vec(&report).map_err(|error| chain(&error))?;
    let reply = client.call(Method::PUT, path, body, PATIENCE).await;
    match reply {
        Ok(reply) if reply.status.is_success() => Ok(()),
        Ok(reply) => Err(reply.refusal().message),
        Err(error) => Err(chain(&error)),
    }
}
