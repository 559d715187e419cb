//! What to answer to one DHCP packet: a pure function, without I/O and clocks.
//!
//! The packet comes from a guest and may be anything; whatever is not a sound question of a known
//! guest gets silence. Answers go only to the guest's own address, to the broadcast address, or to
//! a relay inside the network, so that a forged packet cannot make the server talk to others.

use super::question::Question;
use super::view::{Lease, Settings, View};
use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode, UnknownOption};
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where clients listen.
const CLIENT_PORT: u16 = 68;
/// Where servers and relays listen.
pub(super) const SERVER_PORT: u16 = 67;
/// The lease time that means "for ever" (RFC 2131, section 3.3). In seconds.
const FOR_EVER: u32 = u32::MAX;
/// BOOTP's packet length; some clients and relays drop shorter ones (RFC 1542, section 2.1).
const SHORTEST_REPLY: usize = 300;
/// The datagram every client must accept (RFC 2131, section 2), with IP and UDP headers.
const SMALLEST_MAXIMUM: u16 = 576;
const HEADERS: u16 = 28;

/// A packet to send from port 67 of the gateway address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// Where it goes.
    pub destination: SocketAddrV4,
}

/// Answers the packet `request` out of `view`; `None` is silence.
#[must_use]
pub fn answer(view: &View, request: &[u8]) -> Option<Reply> {
    let question = Question::read(request)?;
    let lease = view.lease(question.mac)?;
    let settings = view.settings();
    let kind = verdict(settings, lease, &question)?;
    let destination = destination(settings, lease, &question, kind)?;
    let bytes = write(settings, lease, &question, kind)?;
    Some(Reply { bytes, destination })
}

/// The kind of answer that RFC 2131, section 4.3 wants for a question of a known guest.
fn verdict(settings: &Settings, lease: &Lease, question: &Question) -> Option<MessageType> {
    match question.kind {
        MessageType::Discover => Some(MessageType::Offer),
        MessageType::Request => {
            if question.options.server.is_some_and(|server| server != settings.gateway) {
                return None; // The guest has chosen another server's offer.
            }
            let held = Some(question.held).filter(|ip| !ip.is_unspecified());
            let asked = question.options.requested.or(held)?;
            Some(if asked == lease.ip { MessageType::Ack } else { MessageType::Nak })
        }
        MessageType::Inform => (question.held == lease.ip).then_some(MessageType::Ack),
        // RELEASE and DECLINE change nothing: the address belongs to the guest all the same.
        _ => None,
    }
}

/// Where an answer goes (RFC 2131, section 4.1).
fn destination(
    settings: &Settings,
    lease: &Lease,
    question: &Question,
    kind: MessageType,
) -> Option<SocketAddrV4> {
    let relay = question.relay;
    if !relay.is_unspecified() {
        return settings.cidr.contains(&relay).then(|| SocketAddrV4::new(relay, SERVER_PORT));
    }
    let deaf = question.flags.broadcast() && question.held != lease.ip;
    let ip = if kind == MessageType::Nak || deaf { Ipv4Addr::BROADCAST } else { lease.ip };
    Some(SocketAddrV4::new(ip, CLIENT_PORT))
}

/// Writes the answer, without what does not fit the size the guest accepts.
fn write(
    settings: &Settings,
    lease: &Lease,
    question: &Question,
    kind: MessageType,
) -> Option<Vec<u8>> {
    let mut reply = head(settings, lease, question, kind);
    if kind == MessageType::Nak {
        return finish(&reply);
    }
    if question.kind != MessageType::Inform {
        reply.opts_mut().insert(DhcpOption::AddressLeaseTime(FOR_EVER));
    }
    let limit = size_limit(settings, question);
    let mut length = reply.to_vec().ok()?.len();
    for option in told(settings, lease, question) {
        let added = option.to_vec().ok()?.len();
        if length + added <= limit {
            length += added;
            reply.opts_mut().insert(option);
        }
    }
    finish(&reply)
}

/// The answer without what it tells about the network.
fn head(settings: &Settings, lease: &Lease, question: &Question, kind: MessageType) -> Message {
    const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
    let refused = kind == MessageType::Nak;
    let held = if refused { NONE } else { question.held };
    let given = if refused || question.kind == MessageType::Inform { NONE } else { lease.ip };
    let mac = &question.mac.0;
    let mut reply =
        Message::new_with_id(question.transaction, held, given, NONE, question.relay, mac);
    // A relay must broadcast a refusal: the guest does not hold the address (section 4.3.2).
    let flags = if refused { question.flags.set_broadcast() } else { question.flags };
    reply.set_opcode(Opcode::BootReply).set_flags(flags);
    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(settings.gateway));
    if let Some(client) = &question.options.client {
        options.insert(DhcpOption::ClientIdentifier(client.clone()));
    }
    if let Some(relay) = &question.options.relay {
        let code = OptionCode::RelayAgentInformation;
        options.insert(DhcpOption::Unknown(UnknownOption::new(code, relay.clone())));
    }
    reply
}

fn finish(reply: &Message) -> Option<Vec<u8>> {
    let mut bytes = reply.to_vec().ok()?;
    bytes.resize(bytes.len().max(SHORTEST_REPLY), 0);
    Some(bytes)
}

/// How many bytes of payload the guest takes.
fn size_limit(settings: &Settings, question: &Question) -> usize {
    let wanted = question.options.largest.unwrap_or(SMALLEST_MAXIMUM);
    let size = wanted.min(settings.mtu).max(SMALLEST_MAXIMUM);
    usize::from(size - HEADERS)
}

/// The options about the network, most important first.
///
/// Mask, router, resolvers and MTU are told always, since a guest cannot work without them; the
/// rest when it asks, or when it does not say what it wants.
fn told(settings: &Settings, lease: &Lease, question: &Question) -> Vec<DhcpOption> {
    let mut options = vec![
        DhcpOption::SubnetMask(settings.cidr.netmask()),
        DhcpOption::Router(vec![settings.gateway]),
        DhcpOption::InterfaceMtu(settings.mtu),
    ];
    if !settings.dns.is_empty() {
        options.push(DhcpOption::DomainNameServer(settings.dns.clone()));
    }
    let optional = [
        DhcpOption::ClasslessStaticRoute(classless_routes(settings)),
        DhcpOption::Hostname(lease.hostname.clone()),
        DhcpOption::DomainName(settings.domain.clone()),
        DhcpOption::BroadcastAddr(settings.cidr.broadcast()),
    ];
    options.extend(optional.into_iter().filter(|option| question.wants(option.into())));
    if question.options.is_windows {
        options.push(release_on_shutdown());
    }
    options
}

/// The routes of option 121. A guest that takes them ignores the router option (RFC 3442), hence
/// the default route; an on-link route names 0.0.0.0, but all of ours lead through the gateway.
fn classless_routes(settings: &Settings) -> Vec<(Ipv4Net, Ipv4Addr)> {
    let mut routes: Vec<_> =
        settings.routes.iter().map(|range| (*range, settings.gateway)).collect();
    routes.push((Ipv4Net::default(), settings.gateway));
    routes
}

/// Microsoft's vendor option 2 with value 1: release the address when shutting down (MS-DHCPE,
/// section 2.2.2.2).
fn release_on_shutdown() -> DhcpOption {
    DhcpOption::VendorExtensions(vec![2, 4, 0, 0, 0, 1])
}

#[cfg(test)]
mod tests;
