//! Raw frames: sent as a guest would that does not play by the rules, and caught on any device.

use netlib::mac::Mac;
use netlib::netns;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Everything that passes a namespace's devices from now on.
pub struct Capture(OwnedFd);

impl Capture {
    pub fn start(namespace: &Path) -> Self {
        let open = || {
            let protocol = SockProtocol::EthAll;
            socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), protocol)
        };
        Self(netns::enter(namespace, open).unwrap().unwrap())
    }

    /// What was caught so far.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = socket::recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
        {
            frames.push(buffer[..length].to_vec());
        }
        frames
    }
}

/// Sends a frame out of a namespace's `eth0`.
pub fn send(namespace: &Path, frame: &[u8]) {
    let work = || {
        let protocol = SockProtocol::EthAll;
        let flags = SockFlag::empty();
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, flags, protocol)?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        let address = link_address(index);
        socket::sendto(socket.as_raw_fd(), frame, &address, MsgFlags::empty())
    };
    assert_eq!(netns::enter(namespace, work).unwrap().unwrap(), frame.len());
}

fn link_address(index: u32) -> socket::LinkAddr {
    let raw = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).unwrap(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = Some(std::mem::size_of::<libc::sockaddr_ll>() as u32);
    // SAFETY: `raw` is a valid link-layer address of the length given.
    unsafe { <socket::LinkAddr as socket::SockaddrLike>::from_raw((&raw const raw).cast(), length) }
        .unwrap()
}

/// The frames' Ethernet type.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;

pub fn ethernet(source: Mac, destination: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&destination.0[..], &source.0, &kind.to_be_bytes(), payload].concat()
}

/// A UDP datagram in an IPv4 packet.
pub fn udp(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = [source.1, destination.1, length, 0].map(u16::to_be_bytes).concat();
    datagram.extend_from_slice(payload);
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&(20 + length).to_be_bytes());
    header.extend_from_slice(&[0, 1, 0, 0, 64, 17, 0, 0]);
    header.extend_from_slice(&source.0.octets());
    header.extend_from_slice(&destination.0.octets());
    let pairs = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from(sum).unwrap();
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    [header, datagram].concat()
}

/// An ARP announcement: `ip` is at `mac`.
pub fn announcement(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 2];
    [&head[..], &mac.0, &ip.octets(), &mac.0, &ip.octets()].concat()
}
