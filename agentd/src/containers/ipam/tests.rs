use super::super::fixture;
use super::*;

const VNI: u32 = fixture::VNI;

fn place(low: u8) -> Place {
    Place { vni: VNI, ip: Ipv4Addr::new(10, 42, 0, low) }
}

fn chosen(desired: &Desired, state: &State, asked: Option<u8>) -> Result<Ipv4Addr, IpamError> {
    let asked = asked.map(|low| place(low).ip);
    choose(desired, state, network(desired, VNI)?, asked).map(|gift| gift.ip)
}

#[test]
fn a_reserve_is_given_out_once_and_then_refused() {
    let desired = fixture::desired(&[100, 101, 102], &[]);
    let mut state = State::default();
    for low in [100, 101, 102] {
        let gift = choose(&desired, &state, &desired.networks[&VNI], None).unwrap();
        assert_eq!(gift, Gift { ip: place(low).ip, records: vec![Record::Taken(place(low))] });
        assert!(gift.records.iter().all(|record| state.apply(record)));
    }
    let refused = chosen(&desired, &state, None).unwrap_err();
    assert_eq!(refused, IpamError::ReserveEmpty { name: "managed".into(), granted: 3 });
}

#[test]
fn a_released_address_rests() {
    let desired = fixture::desired(&[100], &[]);
    let mut state = State::default();
    let mut rest = Rest::default();
    let start = Instant::now();
    state.apply(&Record::Taken(place(100)));
    state.apply(&Record::Released(place(100)));
    assert_eq!(rest.ended(&state, start), []);
    assert!(chosen(&desired, &state, None).is_err());
    assert!(chosen(&desired, &state, Some(100)).is_ok(), "who names it gets it");
    assert_eq!(rest.ended(&state, start + REST - Duration::from_millis(1)), []);
    assert_eq!(rest.ended(&state, start + REST), [place(100)]);
    state.apply(&Record::Rested(place(100)));
    assert_eq!(chosen(&desired, &state, None), Ok(place(100).ip));
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
