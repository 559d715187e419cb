//! Figures about controld itself in Prometheus' text form.

use super::request::Reply;
use crate::core::Core;
use http::StatusCode;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts requests: those being answered, and answers by status.
#[derive(Debug, Default)]
pub struct Requests {
    open: AtomicU64,
    answered: Mutex<BTreeMap<u16, u64>>,
}

/// A request that is being answered.
pub struct Open<'a>(&'a Requests);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    /// One more request, until the returned value is dropped.
    pub fn open(&self) -> Open<'_> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(self)
    }

    /// One more answer.
    pub fn count(&self, status: StatusCode) {
        let mut counts = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(status.as_u16()).or_default() += 1;
    }

    fn counts(&self) -> BTreeMap<u16, u64> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `/metrics`
#[must_use]
pub fn reply(core: &Core, requests: &Requests) -> Reply {
    let figures = core.figures();
    let mut text = String::new();
    family(
        &mut text,
        ("process_resident_memory_bytes", "gauge", "Resident memory."),
        resident_bytes().map(|bytes| (String::new(), bytes)),
    );
    family(
        &mut text,
        ("stampede_generation", "gauge", "Generation of the store."),
        [(String::new(), figures.generation)],
    );
    family(
        &mut text,
        ("stampede_requests_open", "gauge", "Requests being answered, this one among them."),
        [(String::new(), requests.open.load(Ordering::Relaxed))],
    );
    family(
        &mut text,
        ("stampede_requests_total", "counter", "Answers by HTTP status."),
        requests.counts().into_iter().map(|(status, count)| (label("status", status), count)),
    );
    family(
        &mut text,
        ("stampede_resources", "gauge", "Resources that are not removed, by type."),
        figures.resources.into_iter().map(|(kind, count)| (label("type", kind), count as u64)),
    );
    family(
        &mut text,
        ("stampede_hosts", "gauge", "Hosts by whether they are heard of."),
        figures.hosts.into_iter().map(|(state, count)| (label("state", state), count as u64)),
    );
    Reply::text(text, "text/plain; version=0.0.4; charset=utf-8")
}

fn label(name: &str, value: impl std::fmt::Display) -> String {
    format!("{{{name}=\"{value}\"}}")
}

fn family(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    samples: impl IntoIterator<Item = (String, u64)>,
) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_none() {
        return;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

/// Resident memory, from `VmRSS` of proc_pid_status(5).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
