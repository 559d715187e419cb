use super::super::fixture;
use super::*;

const VNI: u32 = fixture::VNI;

fn place(low: u8) -> Place {
    Place { vni: VNI, ip: Ipv4Addr::new(10, 42, 0, low) }
}

fn chosen(desired: &Desired, state: &State, asked: Option<u8>) -> Result<Ipv4Addr, IpamError> {
    let asked = asked.map(|low| place(low).ip);
    choose(desired, state, &Rest::default(), network(desired, VNI)?, asked).map(|gift| gift.ip)
}

#[test]
fn a_reserve_is_given_out_once_and_then_refused() {
    let desired = fixture::desired(&[100, 101, 102], &[]);
    let mut state = State::default();
    for low in [100, 101, 102] {
        let gift =
            choose(&desired, &state, &Rest::default(), &desired.networks[&VNI], None).unwrap();
        assert_eq!(gift, Gift { ip: place(low).ip, records: vec![Record::Taken(place(low))] });
        assert!(gift.records.iter().all(|record| state.apply(record)));
    }
    let refused = chosen(&desired, &state, None).unwrap_err();
    assert_eq!(refused, IpamError::ReserveEmpty { name: "managed".into(), granted: 3 });
}

#[test]
fn a_released_address_rests_unless_there_is_no_other() {
    let desired = fixture::desired(&[100, 101], &[]);
    let network = &desired.networks[&VNI];
    let mut state = State::default();
    let mut rest = Rest::default();
    let start = Instant::now();
    for low in [101, 100] {
        state.apply(&Record::Taken(place(low)));
        state.apply(&Record::Released(place(low)));
        rest.begin(place(low), start + Duration::from_secs(u64::from(101 - low)));
    }
    let given = |state: &State, rest: &Rest| choose(&desired, state, rest, network, None);
    assert_eq!(given(&state, &rest).unwrap().ip, place(101).ip, "the one that rests longest");
    state.apply(&Record::Taken(place(101)));
    assert_eq!(given(&state, &rest).unwrap().ip, place(100).ip, "sooner than a refusal");
    state.apply(&Record::Released(place(101)));
    rest.begin(place(101), start + Duration::from_secs(9));
    assert_eq!(rest.ended(&state, start + REST), []);
    assert_eq!(rest.ended(&state, start + REST + Duration::from_secs(1)), [place(100)]);
    state.apply(&Record::Rested(place(100)));
    assert_eq!(given(&state, &rest).unwrap().ip, place(100).ip, "a rested one comes first");
}

#[test]
fn an_address_that_a_stopped_container_had_is_given_last() {
    let desired = fixture::desired(&[100, 101], &[]);
    let mut state = State::default();
    let port = super::super::journal::Port { place: place(100), mac: fixture::mac(100) };
    state.apply(&Record::Bound { container: "c".into(), port });
    assert_eq!(chosen(&desired, &state, None), Ok(place(101).ip));
    state.apply(&Record::Taken(place(101)));
    assert_eq!(chosen(&desired, &state, None), Ok(place(100).ip));
}

#[test]
fn only_addresses_of_this_host_are_given_by_name() {
    let desired = fixture::desired(&[100], &[9]);
    let mut state = State::default();
    assert_eq!(chosen(&desired, &state, Some(9)), Ok(place(9).ip));
    let refused = chosen(&desired, &state, Some(10)).unwrap_err();
    assert_eq!(refused, IpamError::NotOurs { ip: place(10).ip, name: "managed".into() });
    state.apply(&Record::Taken(place(100)));
    let refused = chosen(&desired, &state, Some(100)).unwrap_err();
    assert_eq!(refused, IpamError::InUse { ip: place(100).ip, name: "managed".into() });
    assert_eq!(mac(&desired, place(9)), Some(fixture::mac(9)));
    assert_eq!(mac(&desired, place(100)), Some(fixture::mac(100)));
    assert_eq!(mac(&desired, place(10)), None);
}

#[test]
fn pools_are_named_after_networks() {
    assert_eq!(pool_vni(&pool_id(VNI)), Ok(VNI));
    for foreign in ["", "stampede/", "stampede/x", "LocalDefault/10.0.0.0/8"] {
        assert_eq!(pool_vni(foreign), Err(IpamError::ForeignPool(foreign.into())));
    }
    let desired = fixture::desired(&[], &[]);
    let managed = &desired.networks[&VNI];
    assert!(check_range(managed, "").is_ok());
    assert!(check_range(managed, "10.42.0.0/16").is_ok());
    assert!(check_range(managed, "10.43.0.0/16").is_err());
}
