//! The generation of a namespace's rules: a number that the kernel raises with every transaction,
//! ours or not. While it stands still nothing can have changed our tables, which is far cheaper to
//! ask than a listing.

use crate::netns;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_netfilter::nftables::{GenAttribute, GenMessage, NfTablesMessage};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use std::fs::File;
use std::io;
use std::sync::Mutex;

/// Asks for the generation of one namespace.
#[derive(Debug)]
pub struct Generations {
    socket: Mutex<Socket>,
}

impl Generations {
    /// Opens a socket in `namespace`.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or the kernel has no nftables.
    pub fn open(namespace: &File) -> io::Result<Self> {
        let socket = netns::within(namespace, || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        })??;
        Ok(Self { socket: Mutex::new(socket) })
    }

    /// The present generation.
    ///
    /// # Errors
    /// When the kernel refuses or answers something else.
    pub fn current(&self) -> io::Result<u32> {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
        let inner = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
        let mut request = NetlinkMessage::from(NetfilterMessage::new(header, inner));
        request.header.flags = NLM_F_REQUEST;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        let answer = {
            let socket = self.socket.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            socket.send(&bytes, 0)?;
            // The kernel answers before `send` returns; waiting could only mean that it never will.
            let mut buffer = Vec::with_capacity(4096);
            socket.recv(&mut buffer, libc::MSG_DONTWAIT)?;
            buffer
        };
        read(&answer)
    }
}

fn read(answer: &[u8]) -> io::Result<u32> {
    let message =
        NetlinkMessage::<NetfilterMessage>::deserialize(answer).map_err(io::Error::other)?;
    let attributes = match message.payload {
        NetlinkPayload::InnerMessage(NetfilterMessage {
            inner: NetfilterMessageInner::NfTables(NfTablesMessage::NewGen(generation)),
            ..
        }) => generation.attributes,
        NetlinkPayload::Error(error) => return Err(error.to_io()),
        _ => Vec::new(),
    };
    attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            GenAttribute::Id(number) => Some(number),
            _ => None,
        })
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}
