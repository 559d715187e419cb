//! What happens by the passing of time: purges, ends of rest, waiting for a host, old idempotency keys
//! and old purged rows.

use crate::clock;
use crate::core::{Core, Refusal};
use crate::draft::Draft;
use crate::intent::{establish, life};
use crate::judge::judge;
use crate::model::{Body, Want};
use crate::placement;
use crate::reports;
use crate::shared::State;
use crate::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest pause between two looks; a change of the world is looked at sooner.
const PAUSE: Duration = Duration::from_secs(30);

/// Time between two sweeps, which look at all rows.
const SWEEP: Duration = Duration::from_secs(600);

/// Time between two writings of hosts' reports to files.
const KEEP: Duration = Duration::from_secs(10);

/// Rows dealt with in one transaction.
const AT_ONCE: usize = 200;

/// How long idempotency keys are kept.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How long a purged instance can still be read.
const PURGED_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Starts the task; it ends with the last other handle to the core.
pub fn start(core: Core) {
    let weak = Arc::downgrade(&core.0);
    let mut changed = core.0.shared.changed();
    drop(core);
    tokio::spawn(async move {
        let mut swept: Option<Instant> = None;
        let mut kept = Instant::now();
        loop {
            let Some(inner) = weak.upgrade() else { return };
            let next = {
                let core = Core(inner);
                look(&core).await;
                if swept.is_none_or(|swept| swept.elapsed() > SWEEP) {
                    swept = Some(Instant::now());
                    sweep(&core).await;
                }
                if kept.elapsed() > KEEP {
                    kept = Instant::now();
                    keep(&core).await;
                }
                next_look(&core)
            };
            // The pause coalesces what comes in bursts; the first change is looked at soon.
            tokio::select! {
                () = tokio::time::sleep(next) => {}
                outcome = changed.changed() => {
                    if outcome.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
}

/// How long nothing is due.
fn next_look(core: &Core) -> Duration {
    let next = core.0.shared.read().world.next_due();
    let Some(next) = next else { return PAUSE };
    let left = u64::try_from(next.saturating_sub(clock::now())).unwrap_or(0);
    Duration::from_millis(left.max(10)).min(PAUSE)
}

/// Does what is due.
pub async fn look(core: &Core) {
    let now = clock::now();
    let (due, waiting, leaving) = {
        let state = core.0.shared.read();
        let due: Vec<i64> = state.world.due(now).take(AT_ONCE).map(|row| row.id).collect();
        let leaving = state.world.leaving().filter_map(|row| {
            let instance = row.instance()?;
            judge(instance, state.seen(instance).as_ref()).and(instance.host)
        });
        (due, can_be_placed(&state), leaving.collect::<BTreeSet<i64>>())
    };
    // What was created and purged between two polls needs no report: its host was never told.
    for host in leaving {
        warn(core.absorb(host).await);
    }
    if due.is_empty() && waiting.is_empty() {
        return;
    }
    let context = core.0.context.clone();
    let outcome = core
        .0
        .writer
        .run(move |draft| {
            due.iter().for_each(|id| life::due(draft, &context, *id));
            waiting.iter().for_each(|id| establish::establish(draft, &context, *id));
            Ok(())
        })
        .await;
    warn(outcome);
}

fn warn(outcome: Result<(), Refusal>) {
    if let Err(refusal) = outcome {
        tracing::warn!(%refusal, "housekeeping was refused; tried again");
    }
}

/// Forgets what nobody needs any more.
async fn sweep(core: &Core) {
    let now = clock::now();
    while has_old(&core.0.shared.read().world, now) {
        let outcome = core.0.writer.run(move |draft| {
            forget_old(draft, now);
            Ok(())
        });
        let outcome = outcome.await;
        let failed = outcome.is_err();
        warn(outcome);
        if failed {
            return;
        }
    }
}

/// Writes new reports to files.
async fn keep(core: &Core) {
    let (shared, directory) = (core.0.shared.clone(), core.0.reports.clone());
    let written = tokio::task::spawn_blocking(move || reports::keep(&shared, &directory));
    if let Err(error) = written.await {
        tracing::warn!(%error, "reports not kept");
    }
}

/// Instances that wait and could go somewhere now.
fn can_be_placed(state: &State) -> Vec<i64> {
    let world = &state.world;
    world
        .waiting()
        .filter(|row| {
            row.instance().is_some_and(|instance| {
                let candidates =
                    placement::candidates(world, instance, |host| state.observed.liveness(host));
                placement::choose(&placement::need(instance), &candidates).is_ok()
            })
        })
        .take(AT_ONCE)
        .map(|row| row.id)
        .collect()
}

fn has_old(world: &World, now: i64) -> bool {
    let end = now.saturating_sub(clock::millis(KEY_LIFE));
    world.answers.values().any(|answer| answer.made < end) || old_rows(world, now).next().is_some()
}

/// Purged instances that nobody needs to read any more.
fn old_rows(world: &World, now: i64) -> impl Iterator<Item = i64> {
    let end = now.saturating_sub(clock::millis(PURGED_LIFE));
    ["container", "virtualMachine"].into_iter().flat_map(|kind| world.of_kind(kind)).filter_map(
        move |row| {
            let instance = row.instance()?;
            let gone = instance.want == Want::Purged && instance.host.is_none();
            (gone && row.removed.is_some_and(|removed| removed < end)).then_some(row.id)
        },
    )
}

fn forget_old(draft: &mut Draft<'_>, now: i64) {
    let end = now.saturating_sub(clock::millis(KEY_LIFE));
    let keys: Vec<(i64, String)> = draft
        .world()
        .answers
        .iter()
        .filter(|(_, answer)| answer.made < end)
        .map(|(key, _)| key.clone())
        .collect();
    for (account, key) in keys {
        draft.remember(account, key, None);
    }
    let rows: Vec<i64> = old_rows(draft.world(), now).take(AT_ONCE).collect();
    for id in rows {
        let Some(row) = draft.world().row(id).cloned() else { continue };
        if let Body::Instance(instance) = &row.body {
            instance.nics.iter().for_each(|nic| draft.delete(*nic));
        }
        draft.delete(id);
    }
}
