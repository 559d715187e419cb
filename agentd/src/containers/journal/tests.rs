use super::*;
use proptest::prelude::*;

fn place() -> impl Strategy<Value = Place> {
    (0u32..3, 0u8..4).prop_map(|(vni, low)| Place { vni, ip: Ipv4Addr::new(10, 42, 0, low) })
}

fn port() -> impl Strategy<Value = Port> {
    place().prop_map(|place| Port { place, mac: Mac([2, 0, 0, 0, 0, place.ip.octets()[3]]) })
}

fn record() -> impl Strategy<Value = Record> {
    let id = || "[a-c]";
    prop_oneof![
        (id(), 0u32..3).prop_map(|(id, vni)| Record::Network { id, vni }),
        id().prop_map(|id| Record::NetworkGone { id }),
        (id(), port()).prop_map(|(id, port)| Record::Endpoint { id, port }),
        id().prop_map(|id| Record::EndpointGone { id }),
        place().prop_map(Record::Taken),
        place().prop_map(Record::Released),
        place().prop_map(Record::Rested),
        (id(), port()).prop_map(|(container, port)| Record::Bound { container, port }),
        id().prop_map(|container| Record::Unbound { container }),
    ]
}

fn state_of(records: &[Record]) -> State {
    let mut state = State::default();
    for record in records {
        state.apply(record);
    }
    state
}

proptest! {
    #[test]
    fn a_state_comes_back_from_its_records(records in prop::collection::vec(record(), 0..40)) {
        let state = state_of(&records);
        prop_assert_eq!(state_of(&state.records()), state);
    }

    #[test]
    fn a_record_twice_is_a_record_once(
        records in prop::collection::vec(record(), 0..40), last in record()
    ) {
        let mut once = state_of(&records);
        let before = once.clone();
        let changed = once.apply(&last);
        prop_assert_eq!(changed, once != before);
        let mut twice = once.clone();
        prop_assert!(!twice.apply(&last));
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn no_two_endpoints_share_an_address(records in prop::collection::vec(record(), 0..40)) {
        let state = state_of(&records);
        let places: BTreeSet<Place> = state.endpoints.values().map(|port| port.place).collect();
        prop_assert_eq!(places.len(), state.endpoints.len());
        prop_assert!(state.taken.is_disjoint(&state.resting));
    }

}

proptest! {
    // Each case syncs a file a dozen times.
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_crash_in_the_middle_of_a_write_loses_at_most_the_last_record(
        records in prop::collection::vec(record(), 1..12), cut in 1usize..200
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let mut lengths = vec![(0, Arc::new(State::default()))];
        for record in &records {
            journal.append(std::slice::from_ref(record)).unwrap();
            lengths.push((journal.length, journal.state.clone()));
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let keep = whole.len().saturating_sub(cut);
        std::fs::write(&path, &whole[..keep]).unwrap();
        let expected = lengths.iter().rev().find(|(length, _)| {
            // A record is whole without its line feed too.
            *length as usize <= keep + 1
        }).unwrap();
        let reopened = Journal::open(&path).unwrap();
        prop_assert_eq!(reopened.state(), &expected.1);
    }
}

#[test]
fn a_journal_survives_and_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::open(&path).unwrap();
    let place = Place { vni: 7, ip: Ipv4Addr::new(10, 42, 0, 9) };
    for _ in 0..2000 {
        journal.append(&[Record::Taken(place)]).unwrap();
        journal.append(&[Record::Released(place)]).unwrap();
    }
    journal.append(&[Record::Network { id: "n".into(), vni: 7 }]).unwrap();
    assert!(journal.records <= REWRITE_ABOVE + 1);
    assert!(std::fs::metadata(&path).unwrap().len() < 64 * 1024);
    let state = journal.state.clone();
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().state, state);
}
