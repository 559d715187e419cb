//! Reading a guest's DHCP packet, which may be anything.
//!
//! The library's borrowed form is used, and of the options only those that matter here are read,
//! each with its length checked: its owned form stops at the first malformed option, and asserts
//! lengths that a guest chooses.

use crate::mac::Mac;
use dhcproto::v4::borrowed::Message;
use dhcproto::v4::{Flags, HType, MessageType, Opcode, OptionCode};
use std::net::Ipv4Addr;

/// What a guest asks, as far as the answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) kind: MessageType,
    pub(super) transaction: u32,
    pub(super) flags: Flags,
    /// The address the guest says it holds; unspecified when none.
    pub(super) held: Ipv4Addr,
    /// The relay that passed the question on; unspecified when none.
    pub(super) relay: Ipv4Addr,
    pub(super) mac: Mac,
    pub(super) options: Options,
}

/// The options that matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    /// The largest datagram the guest takes, with IP and UDP headers. In bytes.
    pub(super) largest: Option<u16>,
    /// The codes of the options it wants; `None` when it does not say.
    pub(super) wanted: Option<Vec<u8>>,
    /// Whether its vendor class is Microsoft's.
    pub(super) is_windows: bool,
    /// What must come back as it was (RFC 6842, RFC 3046).
    pub(super) client: Option<Vec<u8>>,
    pub(super) relay: Option<Vec<u8>>,
    kind: Option<u8>,
}

impl Question {
    /// Reads a packet; `None` unless it is a client's DHCP question over Ethernet.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let message = Message::new(bytes).ok()?;
        // The length is checked before the address is read: the library slices by it unchecked.
        let ethernet = message.htype() == HType::Eth && message.hlen() == 6;
        if message.opcode() != Opcode::BootRequest || !ethernet {
            return None;
        }
        let options = Options::read(&message);
        Some(Self {
            kind: MessageType::from(options.kind?),
            transaction: message.xid(),
            flags: message.flags(),
            held: message.ciaddr(),
            relay: message.giaddr(),
            mac: Mac::try_from(message.chaddr()).ok()?,
            options,
        })
    }

    /// Whether the guest wants the option, or does not say what it wants.
    pub(super) fn wants(&self, code: OptionCode) -> bool {
        self.options.wanted.as_ref().is_none_or(|codes| codes.contains(&u8::from(code)))
    }
}

impl Options {
    fn read(message: &Message<'_>) -> Self {
        let mut options = Self::default();
        for option in message.opts() {
            let data = option.data();
            match option.code() {
                OptionCode::MessageType => options.kind = data.first().copied(),
                OptionCode::RequestedIpAddress => options.requested = address(data),
                OptionCode::ServerIdentifier => options.server = address(data),
                OptionCode::MaxMessageSize => {
                    options.largest = data.try_into().ok().map(u16::from_be_bytes);
                }
                OptionCode::ParameterRequestList => options.wanted = Some(data.to_vec()),
                OptionCode::ClassIdentifier => options.is_windows = data.starts_with(b"MSFT"),
                OptionCode::ClientIdentifier => options.client = Some(data.to_vec()),
                OptionCode::RelayAgentInformation => options.relay = Some(data.to_vec()),
                _ => {}
            }
        }
        options
    }
}

fn address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from)
}
