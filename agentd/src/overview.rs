//! What `agentd status` shows: the agent as a whole at one moment.

use crate::report::Sources;
use crate::sync::Contact;
use api::report::Report;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The agent as a whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// agentd's process id.
    pub pid: u32,
    /// The host's resource id, once controld told it.
    pub host: Option<String>,
    /// The host's number.
    pub number: Option<u16>,
    /// How the last exchange with controld went.
    pub contact: Contact,
    /// The generation of the snapshot in force.
    pub generation: u64,
    /// The reconcilers.
    pub reconcilers: Vec<ReconcilerLine>,
    /// What controld is told.
    pub report: Report,
}

/// A reconciler as `status` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcilerLine {
    /// Its name.
    pub name: String,
    /// The generation of its last pass.
    pub generation: u64,
    /// Passes so far.
    pub passes: u64,
    /// Calls that changed something, over all passes.
    pub changes: u64,
    /// Calls that changed something, in the last pass.
    pub last_changes: u64,
    /// Items of its concern that are not as they should be.
    pub errors: usize,
}

impl Overview {
    /// The agent as it is now.
    #[must_use]
    pub fn of(sources: &Sources) -> Self {
        let desired = sources.desired.borrow().clone();
        let line = |round: &crate::report::WatchedRound| {
            let progress = round.progress.borrow();
            ReconcilerLine {
                name: round.name.into(),
                generation: progress.generation,
                passes: progress.passes,
                changes: progress.changes,
                last_changes: progress.status.changes,
                errors: progress.status.errors.len(),
            }
        };
        Self {
            pid: std::process::id(),
            host: desired.host.as_ref().map(|host| host.id.clone()),
            number: desired.host.as_ref().map(|host| host.number),
            contact: sources.contact.borrow().clone(),
            generation: desired.generation,
            reconcilers: sources.rounds.iter().map(line).collect(),
            report: sources.report(),
        }
    }

    /// The numbers of the agent in Prometheus' text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, label: Option<(&str, &str)>, value: u64| {
            let label = label.map_or(String::new(), |(key, value)| format!("{{{key}={value:?}}}"));
            text.push_str(&format!("stampede_agent_{name}{label} {value}\n"));
        };
        line("connected", None, u64::from(self.contact == Contact::Connected));
        line("generation", None, self.generation);
        line("applied_generation", None, self.report.applied_generation);
        line("resident_bytes", None, resident_bytes());
        for reconciler in &self.reconcilers {
            let label = Some(("reconciler", reconciler.name.as_str()));
            line("passes_total", label, reconciler.passes);
            line("changes_total", label, reconciler.changes);
            line("errors", label, reconciler.errors as u64);
        }
        for (name, capability) in &self.report.facts.capabilities {
            line("capability", Some(("name", name)), u64::from(capability.ok));
        }
        text
    }
}

/// Memory this process holds; 0 when the kernel does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 =
        statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    pages * page.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096)
}

impl fmt::Display for Overview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.report.facts;
        let host = self.host.as_deref().unwrap_or("not known to a cloud yet");
        writeln!(f, "host        {} ({host})", facts.hostname)?;
        writeln!(
            f,
            "agentd      {}, pid {}{}",
            facts.version,
            self.pid,
            simulated(facts.simulated)
        )?;
        writeln!(f, "controld    {}", self.contact)?;
        let applied = self.report.applied_generation;
        writeln!(f, "generation  {} in force, {applied} applied", self.generation)?;
        writeln!(f, "\n{:<12} {:>8} {:>8} {:>8}", "RECONCILER", "PASSES", "CHANGES", "ERRORS")?;
        for line in &self.reconcilers {
            let (name, passes, changes) = (&line.name, line.passes, line.changes);
            writeln!(f, "{name:<12} {passes:>8} {changes:>8} {:>8}", line.errors)?;
        }
        if !self.report.instances.is_empty() {
            writeln!(f, "\n{:<38} {:<10} {:>6}", "INSTANCE", "PHASE", "EPOCH")?;
        }
        for (uuid, instance) in &self.report.instances {
            let phase = format!("{:?}", instance.phase).to_lowercase();
            let message = instance.message.as_deref().unwrap_or_default();
            writeln!(f, "{uuid:<38} {phase:<10} {:>6}  {message}", instance.epoch)?;
        }
        for adopted in &self.report.adopted {
            let phase = if adopted.running { "running" } else { "stopped" };
            writeln!(f, "{:<38} {phase:<10} by hand, {}", adopted.name, adopted.ip)?;
        }
        for (key, error) in &self.report.errors {
            writeln!(f, "\n{key}: {}", error.message)?;
        }
        for (name, remedy) in &facts.conditions {
            writeln!(f, "\n{name}: {remedy}")?;
        }
        Ok(())
    }
}

fn simulated(simulated: bool) -> &'static str {
    if simulated { ", simulated" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::Progress;
    use crate::report::tests::sources;

    #[test]
    fn travels_as_json_and_reads_as_text() {
        let progress = Progress { generation: 4, passes: 2, changes: 3, ..Progress::default() };
        let (sources, _senders) = sources(vec![progress]);
        let overview = Overview::of(&sources);
        let json = serde_json::to_string(&overview).unwrap();
        let read: Overview = serde_json::from_str(&json).unwrap();
        assert_eq!(read.reconcilers[0].changes, 3);
        let text = read.to_string();
        assert!(text.contains("no answer from controld yet"), "{text}");
        assert!(
            read.metrics().contains("stampede_agent_changes_total{reconciler=\"concern\"} 3\n")
        );
        assert!(resident_bytes() > 1 << 20);
    }
}
