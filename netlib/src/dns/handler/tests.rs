use super::*;
use crate::dns::Zone;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use hickory_server::net::xfer::Protocol;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn view() -> View {
    let mut view = View::new(&Zone {
        domains: vec!["example".into()],
        cidr: "10.42.0.0/16".parse().unwrap(),
        upstreams: vec![],
    })
    .unwrap();
    view.insert(Ipv4Addr::new(10, 42, 0, 5), &["web"]);
    view
}

fn question(size: u16) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii("WeB.example.").unwrap(), RecordType::A));
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    message.set_edns(edns);
    message.to_vec().unwrap()
}

fn request(bytes: Vec<u8>) -> Option<Request> {
    Request::from_bytes(bytes, ([10, 42, 0, 9], 5353).into(), Protocol::Udp).ok()
}

#[test]
fn the_smaller_of_both_sizes_counts_but_never_less_than_every_host_takes() {
    for (accepted, agreed) in [(0, 512), (512, 512), (600, 600), (1232, 1232), (4096, 1232)] {
        let request = request(question(accepted)).unwrap();
        assert_eq!(extensions(&request).unwrap().max_payload(), agreed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(request) = request(bytes) {
            let _ = at_once(&view(), &request);
        }
    }

    #[test]
    fn no_change_to_a_question_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let mut bytes = question(1232);
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Some(request) = request(bytes) {
            let _ = (at_once(&view(), &request), extensions(&request));
        }
    }
}
