//! How far a machine is, as it is reported: pure, from what was seen and what is being done.

use super::driver::Domain;
use super::plan::{Step, Wish, starts};
use super::record::{Record, Stage};
use api::report::{Instance, ItemError, Phase};

/// What is known about a machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// What is wanted.
    pub wish: Option<&'a Wish>,
    /// Its domain.
    pub domain: Option<&'a Domain>,
    /// What is remembered.
    pub record: Option<&'a Record>,
    /// The step under way, and its percents.
    pub doing: Option<(Step, Option<u8>)>,
    /// The last failure, until it was made good.
    pub error: Option<&'a ItemError>,
}

/// The report on a machine; none for one of which nothing is here and nothing wanted.
#[must_use]
pub fn instance(known: &Known) -> Option<Instance> {
    let record = known.record.cloned().unwrap_or_default();
    let shown = match (known.wish, known.domain) {
        (_, Some(domain)) if ran(domain, &record) => {
            Instance { epoch: domain.label.epoch, phase: Phase::Running, ..Instance::default() }
        }
        (Some(Wish::Run { epoch, .. }), _) if record.epoch < *epoch || begins(&record) => {
            on_its_way(*epoch, known)
        }
        // It has ended, and how is not noted yet: the end is told together with its status.
        (Some(Wish::Run { .. } | Wish::Stop(_)), None) if unnoted(&record) => {
            Instance { epoch: record.epoch, phase: Phase::Running, ..Instance::default() }
        }
        (Some(Wish::Run { epoch, restart }), _) => {
            let over = starts(*epoch, *restart, &record).is_none();
            Instance { over, ..ended(&record) }
        }
        (Some(Wish::Stop(_)), _) => ended(&record),
        (Some(Wish::Retain), _) => {
            known.record?;
            Instance { phase: Phase::Retained, ..ended(&record) }
        }
        // Being removed.
        (None, _) => {
            known.record?;
            ended(&record)
        }
    };
    let failure = known.error.map(|error| (error.kind, error.message.clone()));
    Some(match failure {
        Some((kind, message)) => Instance { error: Some(kind), message: Some(message), ..shown },
        None => shown,
    })
}

fn ran(domain: &Domain, record: &Record) -> bool {
    record.epoch != domain.label.epoch || record.stage >= Stage::Released
}

fn unnoted(record: &Record) -> bool {
    matches!(record.stage, Stage::Released | Stage::Running)
}

fn begins(record: &Record) -> bool {
    record.stage <= Stage::Begun
}

fn on_its_way(epoch: u64, known: &Known) -> Instance {
    let (phase, progress) = match known.doing {
        None if known.error.is_some() => (Phase::Failed, None),
        None => (Phase::Preparing, None),
        Some((_, progress)) => (Phase::Preparing, progress),
    };
    let message = progress.map(|percent| format!("downloading the image: {percent} %"));
    Instance { epoch, phase, progress, message, ..Instance::default() }
}

fn ended(record: &Record) -> Instance {
    Instance { epoch: record.epoch, phase: Phase::Exited, exit: record.exit, ..Instance::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::driver::{DomainState, Label};
    use api::item::Restart;
    use api::report::ErrorKind;

    const RUN: Wish = Wish::Run { epoch: 2, restart: Restart::Stop };

    fn record(epoch: u64, stage: Stage) -> Record {
        Record { epoch, stage, exit: Some(0), ..Record::default() }
    }

    fn phase(known: &Known) -> Option<(u64, Phase)> {
        instance(known).map(|instance| (instance.epoch, instance.phase))
    }

    #[test]
    fn tells_how_far_a_machine_is() {
        let wish = Some(&RUN);
        let held = Domain {
            state: DomainState::Paused,
            label: Label { storage: String::new(), epoch: 2, stop_timeout: 30 },
        };
        let [old, begun, runs, over] = [
            record(1, Stage::Ended),
            record(2, Stage::Begun),
            record(2, Stage::Running),
            record(2, Stage::Ended),
        ];
        let known = Known { wish, ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Preparing)));
        let known = Known { wish, record: Some(&old), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Preparing)), "the epoch before has ended");
        let known = Known { wish, domain: Some(&held), record: Some(&begun), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Preparing)));
        let known = Known { wish, domain: Some(&held), record: Some(&runs), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Running)));
        let known = Known { wish, record: Some(&runs), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Running)), "its end is not noted yet");
        let known = Known { wish, record: Some(&over), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Exited)));
        assert_eq!(instance(&known).unwrap().exit, Some(0));
        let stopped = Some(&Wish::Stop(30));
        let known = Known { wish: stopped, ..Known::default() };
        assert_eq!(phase(&known), Some((0, Phase::Exited)), "never started");
        let known = Known { wish: Some(&Wish::Retain), ..Known::default() };
        assert_eq!(phase(&known), None, "a retained container is none of ours");
        let known = Known { wish: Some(&Wish::Retain), record: Some(&over), ..Known::default() };
        assert_eq!(phase(&known), Some((2, Phase::Retained)));
        assert_eq!(phase(&Known::default()), None);
    }

    #[test]
    fn a_failure_is_told_until_it_is_made_good() {
        let error = ItemError { kind: ErrorKind::Transient, message: "no way".into() };
        let failed = Known { wish: Some(&RUN), error: Some(&error), ..Known::default() };
        let shown = instance(&failed).unwrap();
        assert_eq!((shown.phase, shown.error), (Phase::Failed, Some(ErrorKind::Transient)));
        let doing = Some((Step::Start { again: false }, Some(40)));
        let trying = instance(&Known { doing, ..failed }).unwrap();
        assert_eq!((trying.phase, trying.progress), (Phase::Preparing, Some(40)));
    }
}
