//! What must not pass: forged frames from guests, and anything on the underlay but unicast IP.

#![allow(clippy::unwrap_used)] // in helpers of tests

mod lab;

use lab::frames::{ARP, Capture, IPV4, announcement, ethernet, send, udp};
use lab::{GATEWAY, Lab, PORT, VNI, guest_address, guest_mac, pings, run, silent, two_hosts};
use netlib::mac::Mac;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;

const GUESTS: [(u8, u16); 3] = [(10, 1), (11, 1), (20, 2)];
const GATEWAY_MAC: Mac = Mac([0x06, 0x53, 0, 0x80, 0, 1]);
const TARGET: u16 = 5555;

fn listen(guest: &Path) -> UdpSocket {
    let socket = netlib::netns::enter(guest, || UdpSocket::bind(("0.0.0.0", TARGET)));
    let socket = socket.unwrap().unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    socket
}

/// What arrives before the honest word that follows the forged frames on the same way.
fn heard(socket: &UdpSocket, last_word: &str) -> Vec<String> {
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    loop {
        let length = socket.recv(&mut buffer).unwrap();
        let word = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if word == last_word {
            return heard;
        }
        heard.push(word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_frames_are_dropped() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let b = lab.guest(&one, 11).await;
    let c = lab.guest(&two, 20).await;
    let (mine, my_mac) = (guest_address(10), guest_mac(10));
    for (target, last) in [(&b, 11), (&c, 20)] {
        let socket = listen(target);
        let (to, to_mac) = ((guest_address(last), TARGET), guest_mac(last));
        let forge = |word: &str, mac: Mac, ip: Ipv4Addr, port: u16| {
            let packet = udp((ip, port), to, word.as_bytes());
            send(&a, &ethernet(mac, to_mac, IPV4, &packet));
        };
        forge("another's address", my_mac, guest_address(99), 4000);
        forge("another's MAC", guest_mac(99), mine, 4000);
        forge("the gateway's address", my_mac, GATEWAY, 4000);
        forge("the gateway itself", GATEWAY_MAC, GATEWAY, 4000);
        forge("the metadata address", my_mac, Ipv4Addr::new(169, 254, 169, 254), 4000);
        forge("a DHCP server", my_mac, mine, 67);
        let hidden = [&[0, 5, 8, 0][..], &udp((guest_address(99), 1), to, b"VLAN tag")].concat();
        send(&a, &ethernet(my_mac, to_mac, 0x8100, &hidden));
        let everybody = udp((mine, 4000), (Ipv4Addr::new(10, 42, 255, 255), TARGET), b"broadcast");
        send(&a, &ethernet(my_mac, Mac([0xff; 6]), IPV4, &everybody));
        forge("honest", my_mac, mine, 4000);
        assert_eq!(heard(&socket, "honest"), Vec::<String>::new(), "to {last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_the_gateway() {
    let lab = Lab::new();
    let [one, _two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let b = lab.guest(&one, 11).await;
    assert!(pings(&b, GATEWAY));
    send(&a, &ethernet(guest_mac(10), Mac([0xff; 6]), ARP, &announcement(guest_mac(10), GATEWAY)));
    assert!(pings(&b, GATEWAY));
    let neighbours = run(&b, "ip neigh show dev eth0");
    assert!(neighbours.contains(&GATEWAY_MAC.to_string()), "{neighbours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_underlay_carries_unicast_ip_only() {
    let lab = Lab::new();
    let [one, two] = two_hosts(&lab, &GUESTS).await;
    let a = lab.guest(&one, 10).await;
    let _c = lab.guest(&two, 20).await;
    let capture = Capture::start(&lab.path("underlay"));
    assert!(pings(&a, guest_address(20)), "to a guest that is there");
    assert!(silent(&a, guest_address(77)), "to nobody");
    let nobody = Mac([0x02, 0x99, 0x99, 0x99, 0x99, 0x99]);
    let packet = udp((guest_address(10), 1), (guest_address(78), 9), b"lost");
    send(&a, &ethernet(guest_mac(10), nobody, IPV4, &packet));
    let own = announcement(guest_mac(10), guest_address(10));
    send(&a, &ethernet(guest_mac(10), Mac([0xff; 6]), ARP, &own));
    send(&a, &ethernet(guest_mac(10), Mac([0xff; 6]), IPV4, &packet));
    run(&a, "ip neigh flush dev eth0");
    assert!(pings(&a, guest_address(20)), "again, with a new question who has it");

    let inner: Vec<Vec<u8>> = capture.frames().iter().filter_map(|frame| inside(frame)).collect();
    assert!(inner.len() >= 4, "two pings, there and back: {}", inner.len());
    for frame in inner {
        let kind = u16::from_be_bytes([frame[12], frame[13]]);
        assert!(frame[0] & 1 == 0 && kind == IPV4 && frame[..6] != nobody.0, "{frame:02x?}");
    }
}

/// The frame inside a VXLAN packet of ours.
fn inside(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = frame.get(14..)?;
    let port = packet.get(22..24)?;
    let vxlan = packet[9] == 17 && port == PORT.to_be_bytes();
    let header = packet.get(28..36).filter(|_| vxlan)?;
    assert_eq!(header[4..7], VNI.to_be_bytes()[1..]);
    Some(packet[36..].to_vec())
}
