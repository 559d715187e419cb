//! Reports on their way in: kept, judged, and now and then written to files that may be lost.

use crate::core::{Core, Refusal};
use crate::intent::{adopt, hosts, life};
use crate::judge::{Judgement, judge};
use crate::model::Row;
use crate::shared::{Shared, State};
use api::report::Report;
use std::path::Path;
use std::sync::Arc;

impl Core {
    /// Takes a host's report: what it shows is shown from now on, and what it means for intent is
    /// written.
    ///
    /// # Errors
    /// When the store refuses what the report means; the report is kept all the same.
    pub async fn report(&self, host: i64, report: Report) -> Result<(), Refusal> {
        if self.0.shared.write().observed.accept(host, report) {
            self.0.shared.ring();
        }
        // Also after a repetition: perhaps the store refused what the report meant.
        self.absorb(host).await
    }

    /// Writes what a host's last report means for intent.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn absorb(&self, host: i64) -> Result<(), Refusal> {
        if !means_anything(&self.0.shared.read(), host) {
            return Ok(());
        }
        let (shared, context) = (self.0.shared.clone(), self.0.context.clone());
        self.0
            .writer
            .run(move |draft| {
                let Some(report) = shared.read().observed.report(host).cloned() else {
                    return Ok(());
                };
                hosts::learn(draft, host, hosts::known(&report.facts), &report.facts.hostname);
                if sees_docker(&report) {
                    adopt::adopt(draft, &context, host, &report.adopted);
                }
                let judged: Vec<(i64, Judgement)> = draft
                    .world()
                    .on_host(host)
                    .filter_map(|row| {
                        let instance = row.instance()?;
                        Some((row.id, judge(instance, context.seen(instance).as_ref())?))
                    })
                    .collect();
                for (id, judgement) in judged {
                    life::judged(draft, &context, id, judgement);
                }
                Ok(())
            })
            .await
    }
}

/// Without Docker nothing can be said of the containers that people started.
fn sees_docker(report: &Report) -> bool {
    report.facts.capabilities.get("docker").is_some_and(|docker| docker.ok)
}

/// Whether a host's last report means any write.
fn means_anything(state: &State, host: i64) -> bool {
    let (Some(row), Some(report)) = (state.world.row(host), state.observed.report(host)) else {
        return false;
    };
    learns(row, report)
        || sees_docker(report) && adopt::differs(&state.world, row, &report.adopted)
        || state.world.on_host(host).any(|row| {
            row.instance()
                .is_some_and(|instance| judge(instance, state.seen(instance).as_ref()).is_some())
        })
}

fn learns(row: &Row, report: &Report) -> bool {
    row.host().is_some_and(|host| {
        host.facts != hosts::known(&report.facts)
            || host.hostname != hosts::host_name(&report.facts.hostname)
    })
}

/// Writes new reports to files for the next start. They may be lost: nothing depends on them but what
/// is shown until the hosts report again.
pub fn keep(shared: &Shared, directory: &Path) {
    let unsaved: Vec<(String, Arc<Report>)> = {
        let mut state = shared.write();
        let reports = state.observed.take_unsaved();
        let named = reports.into_iter();
        named
            .filter_map(|(host, report)| Some((state.world.row(host)?.uuid.clone(), report)))
            .collect()
    };
    for (uuid, report) in unsaved {
        let path = directory.join(format!("{uuid}.json"));
        if let Err(error) = write(&path, &report) {
            tracing::warn!(%error, path = %path.display(), "report not kept");
        }
    }
}

fn write(path: &Path, report: &Report) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, serde_json::to_vec(report)?)?;
    std::fs::rename(&fresh, path)
}

/// Reads the reports that were kept.
pub fn recall(shared: &Shared, directory: &Path) {
    let hosts: Vec<(i64, String)> = {
        let state = shared.read();
        let living = state.world.of_kind("host").filter(|row| row.removed.is_none());
        living.map(|row| (row.id, row.uuid.clone())).collect()
    };
    for (id, uuid) in hosts {
        let Ok(text) = std::fs::read_to_string(directory.join(format!("{uuid}.json"))) else {
            continue;
        };
        match serde_json::from_str(&text) {
            Ok(report) => shared.write().observed.recall(id, report),
            Err(error) => tracing::warn!(%error, host = uuid, "kept report not readable"),
        }
    }
}
