//! What crosses the underlay: every frame that a node sends into the switch.

use crate::node::Node;
use anyhow::{Context, Result};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;

const VXLAN_PORT: u16 = api::derive::VXLAN_PORT;
const ETHERNET: usize = 14;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const VXLAN_HEADER: usize = 8;
/// How long the line must be quiet before a capture that was asked to end has all frames.
const QUIET_MILLISECONDS: i64 = 100;

/// An Ethernet address.
pub type Address = [u8; 6];

/// The head of an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// To whom.
    pub destination: Address,
    /// From whom.
    pub source: Address,
    /// What it carries.
    pub ether_type: u16,
}

impl Head {
    /// Whether it goes to more than one receiver.
    #[must_use]
    pub fn is_multicast(&self) -> bool {
        self.destination[0] & 1 == 1
    }
}

/// A frame inside a VXLAN packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnelled {
    /// The host that sent it.
    pub from: Ipv4Addr,
    /// The host it was sent to.
    pub to: Ipv4Addr,
    /// The guest's frame.
    pub head: Head,
    /// The bytes behind the head.
    pub payload: Vec<u8>,
}

/// A running capture.
pub struct Capture {
    end: Arc<AtomicBool>,
    reader: JoinHandle<Vec<Vec<u8>>>,
}

impl Capture {
    /// Starts to record what enters the switch by any of its ports.
    ///
    /// # Errors
    /// When the kernel refuses a packet socket.
    pub fn start(switch: &Node) -> Result<Self> {
        let socket = switch.enter(open)?.context("cannot open a packet socket")?;
        let end = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&end);
        let reader = std::thread::spawn(move || read(&socket, &asked));
        Ok(Self { end, reader })
    }

    /// Ends the capture when the line is quiet, and gives all frames.
    ///
    /// # Panics
    /// When the reading thread did.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u8>> {
        self.end.store(true, Ordering::Relaxed);
        self.reader.join().expect("the capture's thread panicked")
    }

    /// Ends the capture and gives the frames that travelled inside VXLAN packets of ours.
    #[must_use]
    pub fn finish_tunnelled(self) -> Vec<Tunnelled> {
        self.finish().iter().filter_map(|frame| tunnelled(frame)).collect()
    }
}

fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, Some(SockProtocol::EthAll))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(QUIET_MILLISECONDS))?;
    setsockopt(&socket, sockopt::RcvBuf, &(8 << 20))?;
    Ok(socket)
}

fn read(socket: &OwnedFd, end: &AtomicBool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            // What a port sends was received by another port before.
            Ok((length, Some(from))) if from.pkttype() != libc::PACKET_OUTGOING => {
                frames.push(buffer[..length].to_vec());
            }
            Ok(_) => {}
            Err(_) if end.load(Ordering::Relaxed) => return frames,
            Err(_) => {}
        }
    }
}

/// The head of a frame, unless it is cut short.
#[must_use]
pub fn head(frame: &[u8]) -> Option<Head> {
    Some(Head {
        destination: frame.get(..6)?.try_into().ok()?,
        source: frame.get(6..12)?.try_into().ok()?,
        ether_type: u16::from_be_bytes(frame.get(12..ETHERNET)?.try_into().ok()?),
    })
}

/// The frame inside, when this one carries a VXLAN packet of ours.
fn tunnelled(frame: &[u8]) -> Option<Tunnelled> {
    if head(frame)?.ether_type != IPV4 {
        return None;
    }
    let ip = frame.get(ETHERNET..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    if *ip.get(9)? != UDP {
        return None;
    }
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let udp = ip.get(header..)?;
    if u16::from_be_bytes(udp.get(2..4)?.try_into().ok()?) != VXLAN_PORT {
        return None;
    }
    let inner = udp.get(UDP_HEADER + VXLAN_HEADER..)?;
    Some(Tunnelled {
        from: address(12)?,
        to: address(16)?,
        head: head(inner)?,
        payload: inner.get(ETHERNET..)?.to_vec(),
    })
}
