use super::super::view::Zone;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const WEB: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 5);
const TWIN: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 6);
const NAMELESS: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 7);

fn zone() -> Zone {
    Zone {
        domains: vec!["stampede.internal".into(), "Compute.Internal".into()],
        cidr: "10.42.0.0/16".parse().unwrap(),
        upstreams: vec![],
    }
}

fn view() -> View {
    let mut view = View::new(&zone()).unwrap();
    view.insert(WEB, &["Web", "www"]);
    view.insert(TWIN, &["twin", "www"]);
    view.insert::<&str>(NAMELESS, &[]);
    view
}

fn ask(name: &str, kind: RecordType) -> Answer {
    answer(&view(), &Query::query(Name::from_ascii(name).unwrap(), kind))
}

/// The addresses of an answer with records; each record has the name that was asked for.
fn found(name: &str) -> Vec<Ipv4Addr> {
    let Answer::Records(records) = ask(name, RecordType::A) else { return vec![] };
    let address = |record: &Record| {
        assert!(record.name.eq_case(&Name::from_ascii(name).unwrap()), "{record}");
        assert_eq!(record.ttl, OWN_TTL);
        match record.data {
            RData::A(A(ip)) => ip,
            ref other => panic!("{other}"),
        }
    };
    records.iter().map(address).collect()
}

fn pointer(name: &str) -> Option<String> {
    let Answer::Records(records) = ask(name, RecordType::PTR) else { return None };
    match &records[0].data {
        RData::PTR(PTR(target)) => Some(target.to_string()),
        other => panic!("{other}"),
    }
}

fn is_negative(answer: &Answer, exists: bool) -> bool {
    let authority = match answer {
        Answer::NoData(Some(authority)) if exists => authority,
        Answer::NoSuchName(Some(authority)) if !exists => authority,
        _ => return false,
    };
    authority.ttl == OWN_TTL && matches!(&authority.data, RData::SOA(soa) if soa.minimum == OWN_TTL)
}

#[test]
fn hosts_are_found_by_each_of_their_names() {
    for name in ["web", "WEB.", "web.stampede.internal.", "wEb.Stampede.Internal.", "www"] {
        assert!(found(name).contains(&WEB), "{name}");
    }
    assert_eq!(found("web.compute.internal."), [WEB]);
    assert_eq!(found("www.stampede.internal."), [WEB, TWIN]);
}

#[test]
fn every_address_has_a_name_of_its_own() {
    assert_eq!(found("ip-10-42-0-7"), [NAMELESS]);
    assert_eq!(found("ip-10-42-0-7.compute.internal."), [NAMELESS]);
    assert_eq!(found("ip-10-42-0-5.stampede.internal."), [WEB]);
    for name in ["ip-10-42-0-8", "ip-10-42-0-05", "ip-10.42-0-5.stampede.internal."] {
        assert!(found(name).is_empty(), "{name}");
    }
}

#[test]
fn addresses_are_turned_into_canonical_names() {
    let name = |label: &str| Some(format!("{label}.stampede.internal."));
    assert_eq!(pointer("5.0.42.10.in-addr.arpa."), name("web"));
    assert_eq!(pointer("7.0.42.10.in-addr.arpa."), name("ip-10-42-0-7"));
    assert_eq!(pointer("8.0.42.10.in-addr.arpa."), None);
}

#[test]
fn nothing_of_ours_is_forwarded() {
    let authority =
        ["nobody.stampede.internal.", "a.web.stampede.internal.", "x.compute.internal."];
    for name in authority {
        assert!(is_negative(&ask(name, RecordType::A), false), "{name}");
    }
    for name in ["nobody.", "com.", "8.0.42.10.in-addr.arpa.", "9.1.168.192.in-addr.arpa."] {
        assert_eq!(ask(name, RecordType::PTR), Answer::NoSuchName(None), "{name}");
    }
    let ula = format!("1{}.0.0.d.f.ip6.arpa.", ".0".repeat(27));
    assert_eq!(ask(&ula, RecordType::PTR), Answer::NoSuchName(None));
    for name in ["www.example.com.", "8.8.8.8.in-addr.arpa.", "8.in-addr.arpa.", "."] {
        assert_eq!(ask(name, RecordType::A), Answer::Forward, "{name}");
    }
}

#[test]
fn what_exists_without_such_a_record_is_not_denied() {
    for name in ["web.stampede.internal.", "stampede.internal."] {
        assert!(is_negative(&ask(name, RecordType::AAAA), true), "{name}");
    }
    assert_eq!(ask("web", RecordType::AAAA), Answer::NoData(None));
    assert_eq!(ask("internal.", RecordType::A), Answer::NoData(None));
    for name in
        ["10.in-addr.arpa.", "42.10.in-addr.arpa.", "lb._dns-sd._udp.5.0.42.10.in-addr.arpa."]
    {
        assert_eq!(ask(name, RecordType::PTR), Answer::NoData(None), "{name}");
    }
    let Answer::Records(records) = ask("stampede.internal.", RecordType::SOA) else { panic!() };
    assert_eq!(records.len(), 1);
}

#[test]
fn transfers_and_other_classes_are_refused() {
    assert_eq!(ask("stampede.internal.", RecordType::AXFR), Answer::Refused);
    let mut version = Query::query(Name::from_ascii("version.bind.").unwrap(), RecordType::TXT);
    version.set_query_class(DNSClass::CH);
    assert_eq!(answer(&view(), &version), Answer::Refused);
}

#[test]
fn a_changed_zone_keeps_its_hosts() {
    let mut view = view();
    let bad = Zone { domains: vec!["a..b".into()], ..zone() };
    assert!(view.set_zone(&bad).is_err());
    view.set_zone(&Zone { domains: vec!["corp".into()], ..zone() }).unwrap();
    let web = Query::query(Name::from_ascii("web.corp.").unwrap(), RecordType::A);
    assert!(matches!(answer(&view, &web), Answer::Records(_)));
}

/// A change of a view.
#[derive(Clone, Debug)]
enum Change {
    Insert(u8, Vec<String>),
    Remove(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let names = prop::collection::vec("[a-c]", 0..3);
    prop_oneof![
        (0..6_u8, names).prop_map(|(ip, names)| Change::Insert(ip, names)),
        (0..6_u8).prop_map(Change::Remove),
    ]
}

proptest! {
    #[test]
    fn changes_leave_what_a_new_view_would_have(changes in prop::collection::vec(change(), 0..30)) {
        let address = |last| Ipv4Addr::new(10, 42, 0, last);
        let mut changed = View::new(&zone()).unwrap();
        let mut hosts = BTreeMap::new();
        for change in changes {
            match change {
                Change::Insert(ip, names) => {
                    changed.insert(address(ip), &names);
                    hosts.insert(ip, names);
                }
                Change::Remove(ip) => {
                    let known = hosts.remove(&ip).is_some();
                    prop_assert_eq!(changed.remove(address(ip)), known);
                }
            }
        }
        let mut new = View::new(&zone()).unwrap();
        for (ip, names) in &hosts {
            new.insert(address(*ip), names);
        }
        prop_assert_eq!(changed, new);
    }
}
