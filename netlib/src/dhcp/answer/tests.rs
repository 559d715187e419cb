use super::*;
use crate::mac::Mac;
use dhcproto::v4::Flags;
use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

const GUEST: Mac = Mac([2, 0, 1, 0, 0, 5]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 5);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn view() -> View {
    let mut view = View::new(Settings {
        gateway: GATEWAY,
        cidr: "10.42.0.0/16".parse().unwrap(),
        dns: vec![GATEWAY],
        mtu: 1400,
        domain: "stampede.internal".into(),
        routes: vec!["169.254.169.254/32".parse().unwrap(), "198.19.0.0/16".parse().unwrap()],
    });
    view.insert(GUEST, Lease { ip: ADDRESS, hostname: "web".into() });
    view
}

fn question(kind: MessageType, options: Vec<DhcpOption>) -> Message {
    let mut message = Message::new_with_id(7, NONE, NONE, NONE, NONE, &GUEST.0);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    for option in options {
        message.opts_mut().insert(option);
    }
    message
}

fn ask(message: &Message) -> Option<(Message, SocketAddrV4)> {
    let reply = answer(&view(), &message.to_vec().unwrap())?;
    let message = Message::decode(&mut Decoder::new(&reply.bytes)).unwrap();
    Some((message, reply.destination))
}

fn to(ip: Ipv4Addr, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(ip, port)
}

#[test]
fn a_discover_gets_an_offer_of_the_allocated_address() {
    let (offer, destination) = ask(&question(MessageType::Discover, vec![])).unwrap();
    assert_eq!(destination, to(ADDRESS, 68));
    assert_eq!(offer.yiaddr(), ADDRESS);
    assert_eq!(offer.xid(), 7);
    assert_eq!(offer.opts().msg_type(), Some(MessageType::Offer));
    let expected = [
        DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 0, 0)),
        DhcpOption::Router(vec![GATEWAY]),
        DhcpOption::DomainNameServer(vec![GATEWAY]),
        DhcpOption::Hostname("web".into()),
        DhcpOption::DomainName("stampede.internal".into()),
        DhcpOption::InterfaceMtu(1400),
        DhcpOption::BroadcastAddr(Ipv4Addr::new(10, 42, 255, 255)),
        DhcpOption::AddressLeaseTime(u32::MAX),
        DhcpOption::ServerIdentifier(GATEWAY),
        DhcpOption::ClasslessStaticRoute(vec![
            ("169.254.169.254/32".parse().unwrap(), GATEWAY),
            ("198.19.0.0/16".parse().unwrap(), GATEWAY),
            ("0.0.0.0/0".parse().unwrap(), GATEWAY),
        ]),
    ];
    for option in expected {
        assert_eq!(offer.opts().get(OptionCode::from(&option)), Some(&option));
    }
}

#[test]
fn optional_options_come_only_when_asked_for() {
    let list = DhcpOption::ParameterRequestList(vec![OptionCode::Hostname]);
    let (offer, _) = ask(&question(MessageType::Discover, vec![list])).unwrap();
    assert!(offer.opts().contains(OptionCode::Hostname));
    assert!(offer.opts().contains(OptionCode::InterfaceMtu));
    assert!(!offer.opts().contains(OptionCode::ClasslessStaticRoute));
    assert!(!offer.opts().contains(OptionCode::VendorExtensions));
}

#[test]
fn a_request_is_acknowledged_or_refused_by_its_address() {
    let other = Ipv4Addr::new(10, 42, 0, 6);
    let wants = |ip| question(MessageType::Request, vec![DhcpOption::RequestedIpAddress(ip)]);
    let (ack, destination) = ask(&wants(ADDRESS)).unwrap();
    assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
    assert_eq!((ack.yiaddr(), destination), (ADDRESS, to(ADDRESS, 68)));

    let (nak, destination) = ask(&wants(other)).unwrap();
    assert_eq!(nak.opts().msg_type(), Some(MessageType::Nak));
    assert_eq!((nak.yiaddr(), destination), (NONE, to(Ipv4Addr::BROADCAST, 68)));
    assert!(!nak.opts().contains(OptionCode::AddressLeaseTime));

    let mut renewal = question(MessageType::Request, vec![]);
    assert_eq!(ask(&renewal), None, "neither address");
    renewal.set_ciaddr(ADDRESS);
    assert_eq!(ask(&renewal).unwrap().0.opts().msg_type(), Some(MessageType::Ack));
    renewal.set_ciaddr(other);
    assert_eq!(ask(&renewal).unwrap().0.opts().msg_type(), Some(MessageType::Nak));
}

#[test]
fn what_is_not_for_us_gets_silence() {
    let chosen = |server| {
        let requested = DhcpOption::RequestedIpAddress(ADDRESS);
        question(MessageType::Request, vec![DhcpOption::ServerIdentifier(server), requested])
    };
    assert!(ask(&chosen(GATEWAY)).is_some());
    assert_eq!(ask(&chosen(Ipv4Addr::new(10, 42, 0, 9))), None);
    for kind in [MessageType::Release, MessageType::Decline, MessageType::Offer] {
        assert_eq!(ask(&question(kind, vec![])), None);
    }
    let mut stranger = question(MessageType::Discover, vec![]);
    stranger.set_chaddr(&[2, 0, 1, 0, 0, 6]);
    assert_eq!(ask(&stranger), None);
    let mut reply = question(MessageType::Discover, vec![]);
    reply.set_opcode(Opcode::BootReply);
    assert_eq!(ask(&reply), None);
    let bytes = question(MessageType::Discover, vec![]).to_vec().unwrap();
    let options_begin = 240;
    for length in 0..options_begin + 3 {
        assert_eq!(answer(&view(), &bytes[..length]), None);
    }
}

#[test]
fn malformed_options_do_not_hide_the_others() {
    let mut bytes = question(MessageType::Request, vec![]).to_vec().unwrap();
    bytes.pop();
    bytes.extend([12, 2, 0xff, 0xfe, 152, 0, 54, 1, 9]); // no UTF-8; too short; too short
    bytes.extend([50, 4, 10, 42, 0, 5, 255]);
    let ack = answer(&view(), &bytes).unwrap().bytes;
    let ack = Message::decode(&mut Decoder::new(&ack)).unwrap();
    assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
}

#[test]
fn client_and_relay_information_come_back_as_they_were() {
    let mut bytes = question(MessageType::Discover, vec![]).to_vec().unwrap();
    bytes.pop();
    let sent = [&[61, 3, 255, 1, 2][..], &[82, 4, 1, 2, 9, 9]];
    bytes.extend(sent.concat());
    let reply = answer(&view(), &bytes).unwrap().bytes;
    for option in sent {
        assert!(reply.windows(option.len()).any(|window| window == option));
    }
}

#[test]
fn inform_tells_settings_but_gives_no_lease() {
    let mut inform = question(MessageType::Inform, vec![]);
    assert_eq!(ask(&inform), None);
    inform.set_ciaddr(ADDRESS);
    let (ack, destination) = ask(&inform).unwrap();
    assert_eq!((ack.yiaddr(), destination), (NONE, to(ADDRESS, 68)));
    assert!(!ack.opts().contains(OptionCode::AddressLeaseTime));
    assert!(ack.opts().contains(OptionCode::DomainNameServer));
}

#[test]
fn broadcast_and_relays_are_honoured() {
    let mut message = question(MessageType::Discover, vec![]);
    message.set_flags(Flags::default().set_broadcast());
    assert_eq!(ask(&message).unwrap().1, to(Ipv4Addr::BROADCAST, 68));
    message.set_giaddr([10, 42, 0, 200]);
    let (offer, destination) = ask(&message).unwrap();
    assert_eq!(destination, to(Ipv4Addr::new(10, 42, 0, 200), 67));
    assert_eq!(offer.giaddr(), Ipv4Addr::new(10, 42, 0, 200));
    message.set_giaddr([192, 0, 2, 1]);
    assert_eq!(ask(&message), None, "a relay outside the network");
}

#[test]
fn windows_is_told_to_release_when_shutting_down() {
    let class = DhcpOption::ClassIdentifier(b"MSFT 5.0".to_vec());
    let (offer, _) = ask(&question(MessageType::Discover, vec![class])).unwrap();
    let vendor = DhcpOption::VendorExtensions(vec![2, 4, 0, 0, 0, 1]);
    assert_eq!(offer.opts().get(OptionCode::VendorExtensions), Some(&vendor));
}

#[test]
fn a_reply_is_never_too_short_or_too_long() {
    let nak = question(
        MessageType::Request,
        vec![DhcpOption::RequestedIpAddress(Ipv4Addr::new(10, 42, 0, 6))],
    );
    assert_eq!(answer(&view(), &nak.to_vec().unwrap()).unwrap().bytes.len(), SHORTEST_REPLY);

    let mut crowded = view();
    let mut settings = crowded.settings().clone();
    settings.routes = (0..100).map(|n| Ipv4Net::new([10, 9, n, 0].into(), 24).unwrap()).collect();
    crowded.set_settings(settings);
    let discover = |size| {
        let size = DhcpOption::MaxMessageSize(size);
        question(MessageType::Discover, vec![size]).to_vec().unwrap()
    };
    let short = answer(&crowded, &discover(576)).unwrap().bytes;
    assert!(short.len() <= 548, "{}", short.len());
    let short = Message::decode(&mut Decoder::new(&short)).unwrap();
    assert!(!short.opts().contains(OptionCode::ClasslessStaticRoute));
    assert!(short.opts().contains(OptionCode::Hostname));
    let long = answer(&crowded, &discover(1500)).unwrap().bytes;
    assert!(long.len() > 548 && long.len() <= 1400 - 28, "{}", long.len());
}

#[test]
fn a_changed_copy_leaves_its_origin_alone() {
    let origin = view();
    let mut copy = origin.clone();
    assert!(copy.remove(GUEST));
    assert!(!copy.remove(GUEST));
    assert_eq!((origin.len(), copy.len()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = answer(&view(), &bytes);
    }

    #[test]
    fn no_change_to_a_question_makes_it_panic_or_talk_to_others(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        rest in prop::collection::vec(any::<u8>(), 0..80),
        kind in prop::sample::select(vec![MessageType::Discover, MessageType::Request]),
    ) {
        let mut bytes = question(kind, vec![DhcpOption::RequestedIpAddress(ADDRESS)])
            .to_vec()
            .unwrap();
        bytes.pop();
        bytes.extend(rest);
        for (position, value) in changes {
            let position = position.index(bytes.len());
            bytes[position] = value;
        }
        if let Some(reply) = answer(&view(), &bytes) {
            let ip = *reply.destination.ip();
            let network: Ipv4Net = "10.42.0.0/16".parse().unwrap();
            prop_assert!(ip == Ipv4Addr::BROADCAST || network.contains(&ip));
            prop_assert!(reply.bytes.len() <= 1400);
        }
    }
}
