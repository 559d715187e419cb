//! Doing it twice changes nothing: counted by agentd, and witnessed by the kernel, Docker and libvirt.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tests::cloud::Cloud;
use tests::host::{Equipment, Host};
use tests::patience::until;
use tests::witness::Witnesses;

/// A machine takes its time to settle.
const LIMIT: Duration = Duration::from_secs(100);
/// Sockets of agentd's own are opened by every new agentd; they change nothing on the host.
const INSIDE_AGENTD: &str = "services";

#[test]
fn every_reconciler_run_again_changes_nothing() -> Result<()> {
    let mut cloud = Cloud::with_hosts(&[Equipment::BOTH, Equipment::SIMULATED])?;
    cloud.register_machine_image()?;
    cloud.run_container("one", 0, json!({}))?;
    cloud.run_machine("vm", 0, json!({}))?;
    cloud.run_container("elsewhere", 1, json!({}))?;
    settle(&cloud.hosts[0])?;

    let logs = cloud.logs().to_path_buf();
    let witnesses = Witnesses::start(&cloud.hosts[0], &logs)?;
    let first = counts(&cloud.hosts[0])?;
    await_a_pass_of_each(&cloud.hosts[0], &first)?;
    let second = counts(&cloud.hosts[0])?;
    for (name, (_, changes)) in &second {
        let before = first.get(name).context("a reconciler is new")?.1;
        ensure!(*changes == before, "{name} changed {} things again", changes - before);
    }

    // A new agentd finds everything as it should be.
    cloud.hosts[0].kill_agentd()?;
    cloud.hosts[0].start_agentd()?;
    await_a_pass_of_each(&cloud.hosts[0], &BTreeMap::new())?;
    for (name, (_, changes)) in counts(&cloud.hosts[0])? {
        ensure!(changes == 0 || name == INSIDE_AGENTD, "after a restart {name} changed {changes}");
    }
    let seen = witnesses.testimony();
    ensure!(seen.is_empty(), "the host was changed:\n{seen}");
    cloud.passed()
}

/// Waits until a pass of every reconciler changed nothing.
fn settle(host: &Host) -> Result<()> {
    until("a quiet host", LIMIT, || {
        host.look_again()?;
        let status = host.status()?;
        let busy: Vec<_> = reconcilers(&status).filter(|one| one["lastChanges"] != 0).collect();
        ensure!(busy.is_empty(), "there is work left: {busy:?}");
        Ok(())
    })
}

fn await_a_pass_of_each(host: &Host, since: &BTreeMap<String, (u64, u64)>) -> Result<()> {
    host.look_again()?;
    until("another pass of every reconciler", LIMIT, || {
        let now = counts(host)?;
        for (name, (passes, _)) in &now {
            let before = since.get(name).map_or(0, |counts| counts.0);
            ensure!(*passes > before, "{name} has made {passes} passes");
        }
        Ok(())
    })
}

/// Passes and changes of each reconciler.
fn counts(host: &Host) -> Result<BTreeMap<String, (u64, u64)>> {
    let status = host.status()?;
    let number = |one: &Value, field: &str| one[field].as_u64().context("a count is no number");
    reconcilers(&status)
        .map(|one| {
            let name = one["name"].as_str().context("a reconciler has no name")?;
            Ok((name.to_owned(), (number(one, "passes")?, number(one, "changes")?)))
        })
        .collect()
}

fn reconcilers(status: &Value) -> impl Iterator<Item = &Value> {
    status["reconcilers"].as_array().into_iter().flatten()
}
