//! What the ledger does with power cuts, damage and answers that must not get in.

use super::*;
use api::hash::SetHash;
use api::snapshot::{Delta, Item};
use proptest::prelude::*;
use std::collections::BTreeMap;

type State = BTreeMap<u8, u16>;

fn item(key: u8, value: u16) -> Item {
    let value = serde_json::value::to_raw_value(&value).unwrap().into();
    Item { key: format!("endpoint/{key}"), kind: "endpoint".into(), value }
}

fn items(state: &State) -> (Vec<Item>, SetHash) {
    let items: Vec<_> = state.iter().map(|(key, value)| item(*key, *value)).collect();
    let mut hash = SetHash::default();
    items.iter().for_each(|item| hash.add(item.hash()));
    (items, hash)
}

fn full(generation: u64, state: &State) -> String {
    let (items, hash) = items(state);
    serde_json::to_string(&Full { store: "s.1".into(), generation, hash, items }).unwrap()
}

fn delta(from: u64, old: &State, new: &State) -> String {
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let changed = new.iter().filter(|(key, value)| old.get(key) != Some(value));
    let delta = Delta {
        store: "s.1".into(),
        from,
        generation: from + 1,
        hash: items(new).1,
        put: changed.map(|(key, value)| item(*key, *value)).collect(),
        del: gone.map(|key| item(*key, 0).key).collect(),
    };
    serde_json::to_string(&delta).unwrap()
}

fn newest(folder: &Path) -> PathBuf {
    files(folder).unwrap().remove(0).1
}

#[test]
fn what_was_accepted_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (State::from([(1, 1)]), State::from([(1, 1), (2, 2)]));
    let mut ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.snapshot().generation, 0);
    assert!(ledger.accept(&full(4, &one)).unwrap());
    assert!(!ledger.accept(&full(4, &one)).unwrap(), "the same again is nothing new");
    assert!(ledger.accept(&delta(4, &one, &two)).unwrap());
    let again = Ledger::open(folder.path()).unwrap();
    assert_eq!(again.snapshot().generation, 5);
    assert_eq!(again.snapshot().hash, items(&two).1);
    assert_eq!(again.snapshot().items["endpoint/2"].value.get(), "2");
}

#[test]
fn older_truths_and_other_bodies_never_get_in() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let (one, two) = (State::from([(1, 1)]), State::from([(1, 2)]));
    ledger.accept(&full(5, &one)).unwrap();
    for (refused, why) in [(full(4, &two), "older"), (full(5, &two), "another body")] {
        let mut restarted = Ledger::open(folder.path()).unwrap();
        for ledger in [&mut ledger, &mut restarted] {
            let error = ledger.accept(&refused).unwrap_err();
            let stale = matches!(error, LedgerError::Refused(ApplyError::Stale { .. }));
            assert!(stale, "{why}: {error:?}");
            assert_eq!(ledger.snapshot().hash, items(&one).1, "{why}");
        }
    }
    assert!(matches!(ledger.accept("{}"), Err(LedgerError::Read(_))));
}

#[test]
fn a_damaged_newest_file_leads_to_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (State::from([(1, 1)]), State::from([(1, 2)]));
    let mut ledger = Ledger::open(folder.path()).unwrap();
    ledger.accept(&full(1, &one)).unwrap();
    ledger.accept(&full(2, &two)).unwrap();
    let path = newest(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut again = Ledger::open(folder.path()).unwrap();
    assert_eq!(again.snapshot().generation, 1);
    again.accept(&full(2, &two)).unwrap();
    assert_eq!(Ledger::open(folder.path()).unwrap().snapshot().generation, 2);
}

#[test]
fn only_two_files_are_kept_and_they_stay_small() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path()).unwrap();
    let mut state = State::from([(0, 0)]);
    ledger.accept(&full(1, &state)).unwrap();
    for generation in 1..800u16 {
        let next = State::from([(0, generation), (1, generation)]);
        ledger.accept(&delta(u64::from(generation), &state, &next)).unwrap();
        state = next;
    }
    let files = files(folder.path()).unwrap();
    assert_eq!(files.len(), KEPT);
    for (_, path) in files {
        assert!(std::fs::metadata(path).unwrap().len() < 2 * SMALL);
    }
    assert_eq!(Ledger::open(folder.path()).unwrap().snapshot().hash, items(&state).1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Cut anywhere, or with any byte flipped, the file gives a state that was once in force.
    #[test]
    fn any_damage_leads_to_a_state_that_was_accepted(
        states in prop::collection::vec(prop::collection::btree_map(any::<u8>(), any::<u16>(), 0..4), 2..6),
        cut: prop::sample::Index,
        flip in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let mut accepted = vec![(0, SetHash::default())];
        ledger.accept(&full(1, &states[0])).unwrap();
        accepted.push((1, ledger.snapshot().hash));
        for (from, pair) in (1..).zip(states.windows(2)) {
            ledger.accept(&delta(from, &pair[0], &pair[1])).unwrap();
            accepted.push((from + 1, ledger.snapshot().hash));
        }
        let path = newest(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        match flip {
            Some(flip) => { let at = flip.index(bytes.len()); bytes[at] ^= 0x10; }
            None => bytes.truncate(cut.index(bytes.len() + 1)),
        }
        std::fs::write(&path, bytes).unwrap();
        let again = Ledger::open(folder.path()).unwrap();
        prop_assert!(accepted.contains(&(again.snapshot().generation, again.snapshot().hash)));
    }
}
