//! The server on a real bridge, asked by a client in a namespace of its own (needs root).

use super::*;
use crate::dhcp::{Lease, Settings};
use crate::mac::Mac;
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType};
use dhcproto::{Decodable, Decoder, Encodable};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const GUEST: Mac = Mac([2, 0, 1, 0, 0, 5]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 42, 0, 5);

/// A network's namespace with a bridge, and a guest's namespace with a device on it.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let bed = Self { folder: tempfile::tempdir().unwrap() };
        for path in [bed.network(), bed.guest()] {
            netns::create(&path).unwrap();
        }
        let guest = bed.guest().display().to_string();
        let add_guest = format!("link add g0 type veth peer name e0 address {GUEST} netns {guest}");
        for command in [
            "link add br0 type bridge mcast_snooping 0",
            // Addresses that the kernel would rather take as a source stand first.
            "addr add 169.254.169.254/32 dev br0",
            "addr add 198.18.0.7/16 dev br0",
            "addr add 10.42.0.1/16 dev br0",
            "link set br0 up",
            &add_guest,
            "link set g0 master br0 up",
            &format!("neigh replace {ADDRESS} lladdr {GUEST} dev br0 nud permanent"),
        ] {
            ip(&bed.network(), command);
        }
        ip(&bed.guest(), "link set e0 up");
        bed
    }

    fn network(&self) -> PathBuf {
        self.folder.path().join("network")
    }

    fn guest(&self) -> PathBuf {
        self.folder.path().join("guest")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for path in [self.guest(), self.network()] {
            if let Err(error) = netns::remove(&path) {
                eprintln!("{error}");
            }
        }
    }
}

fn ip(namespace: &Path, command: &str) {
    let run = || Command::new("ip").args(command.split(' ')).status().unwrap();
    assert!(netns::enter(namespace, run).unwrap().success(), "ip {command}");
}

fn view() -> View {
    let mut view = View::new(Settings {
        gateway: GATEWAY,
        cidr: "10.42.0.0/16".parse().unwrap(),
        dns: vec![GATEWAY],
        mtu: 1400,
        domain: "stampede.internal".into(),
        routes: vec![],
    });
    view.insert(GUEST, Lease { ip: ADDRESS, hostname: "web".into() });
    view
}

/// A guest that has no address yet: it asks by UDP and reads raw frames, as DHCP clients do.
struct Client {
    sender: UdpSocket,
    frames: OwnedFd,
}

impl Client {
    fn new(namespace: &Path) -> Self {
        let make = || {
            let sender = UdpSocket::bind("0.0.0.0:68").unwrap();
            sender.set_broadcast(true).unwrap();
            socket::setsockopt(&sender, sockopt::BindToDevice, &OsString::from("e0")).unwrap();
            let every = socket::SockProtocol::EthAll;
            let flags = SockFlag::SOCK_CLOEXEC;
            let frames =
                socket::socket(AddressFamily::Packet, SockType::Raw, flags, every).unwrap();
            let patience = Duration::from_secs(10);
            let patience = nix::sys::time::TimeVal::from(libc::timeval {
                tv_sec: patience.as_secs().try_into().unwrap(),
                tv_usec: 0,
            });
            socket::setsockopt(&frames, sockopt::ReceiveTimeout, &patience).unwrap();
            Self { sender, frames }
        };
        netns::enter(namespace, make).unwrap()
    }

    fn ask(&self, broadcast: bool) -> Frame {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut discover = Message::new_with_id(9, none, none, none, none, &GUEST.0);
        discover.opts_mut().insert(DhcpOption::MessageType(MessageType::Discover));
        if broadcast {
            discover.set_flags(Flags::default().set_broadcast());
        }
        self.sender.send_to(&discover.to_vec().unwrap(), "255.255.255.255:67").unwrap();
        loop {
            let mut buffer = [0; 2000];
            let length = socket::recv(self.frames.as_raw_fd(), &mut buffer, MsgFlags::empty());
            let frame = Frame(buffer[..length.expect("a frame in time")].to_vec());
            if frame.is_dhcp_answer() {
                return frame;
            }
        }
    }
}

/// An Ethernet frame with IPv4 and UDP.
struct Frame(Vec<u8>);

impl Frame {
    fn is_dhcp_answer(&self) -> bool {
        self.0.get(12..14) == Some(&[8, 0]) && self.0.get(34..36) == Some(&[0, 67])
    }

    fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.0[26..30]).unwrap())
    }

    fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.0[30..34]).unwrap())
    }

    fn message(&self) -> Message {
        Message::decode(&mut Decoder::new(&self.0[42..])).unwrap()
    }

    /// Whether the UDP checksum in the frame is the sum of what it covers (RFC 768).
    fn checksum_is_right(&self) -> bool {
        let datagram = &self.0[34..34 + usize::from(u16::from_be_bytes([self.0[38], self.0[39]]))];
        let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
        let covered = [&self.0[26..34], &[0, 17], &length, datagram].concat();
        let mut sum: u32 = covered
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_without_an_address_is_answered_with_right_checksums() {
    let bed = Bed::new();
    let shared = Arc::new(ArcSwap::from_pointee(view()));
    let server = tokio::spawn(serve(open(&bed.network()).unwrap(), shared.clone()));
    let guest = bed.guest();
    let asked = tokio::task::spawn_blocking(move || {
        let client = Client::new(&guest);
        [client.ask(false), client.ask(true), client.ask(false)]
    });
    let [unicast, broadcast, again] = asked.await.unwrap();
    server.abort();
    for (frame, destination) in
        [(unicast, ADDRESS), (broadcast, Ipv4Addr::BROADCAST), (again, ADDRESS)]
    {
        assert!(frame.checksum_is_right());
        assert_eq!((frame.source(), frame.destination()), (GATEWAY, destination));
        assert_eq!(frame.message().yiaddr(), ADDRESS);
        assert_eq!(frame.message().opts().msg_type(), Some(MessageType::Offer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_client_takes_the_lease() {
    let bed = Bed::new();
    let shared = Arc::new(ArcSwap::from_pointee(view()));
    let server = tokio::spawn(serve(open(&bed.network()).unwrap(), shared));
    let script = bed.folder.path().join("script");
    let told = bed.folder.path().join("told");
    let text = format!("#!/bin/sh\n[ \"$1\" = bound ] && env > {}\nexit 0\n", told.display());
    std::fs::write(&script, text).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, permissions).unwrap();
    let guest = bed.guest();
    let run = move || {
        let mut client = Command::new("busybox");
        client.args(["udhcpc", "-i", "e0", "-f", "-q", "-n", "-O", "mtu", "-O", "staticroutes"]);
        client.arg("-s").arg(script);
        netns::enter(&guest, || client.output().unwrap()).unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    server.abort();
    assert!(output.status.success(), "{output:?}");
    let told = std::fs::read_to_string(told).unwrap();
    for line in [
        "ip=10.42.0.5",
        "mask=16",
        "router=10.42.0.1",
        "dns=10.42.0.1",
        "mtu=1400",
        "hostname=web",
        "domain=stampede.internal",
        "serverid=10.42.0.1",
        "staticroutes=0.0.0.0/0 10.42.0.1",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
}

#[test]
fn without_a_bridge_the_error_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    netns::create(&path).unwrap();
    let error = open(&path).unwrap_err();
    netns::remove(&path).unwrap();
    assert_eq!(error.to_string(), "cannot tie to the bridge the DHCP server's socket on br0");
}
