//! What to answer to one DNS question: a pure function, without I/O and clocks.

use super::reverse;
use super::view::{View, labelled_address};
use hickory_proto::op::Query;
use hickory_proto::rr::rdata::{A, PTR, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;
use std::net::Ipv4Addr;

/// How long an own answer, also a negative one, may be kept. In seconds.
pub const OWN_TTL: u32 = 5;

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These records, with authority.
    Records(Vec<Record>),
    /// The name is ours but has no record of that type. With the record that says for how long.
    NoData(Option<Record>),
    /// The name does not exist, and nobody else is to be asked.
    NoSuchName(Option<Record>),
    /// Ask the resolvers outside.
    Forward,
    /// Neither answered nor forwarded: zone transfers, other classes than Internet.
    Refused,
}

/// Answers `question` out of `view`.
#[must_use]
pub fn answer(view: &View, question: &Query) -> Answer {
    let kind = question.query_type();
    let transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
    if question.query_class() != DNSClass::IN || transfer {
        return Answer::Refused;
    }
    let name = question.name().to_lowercase();
    if let Some(domain) = view.domains().iter().find(|domain| domain.zone_of_case(&name)) {
        return own_name(view, question, &name, domain);
    }
    if view.domains().iter().any(|domain| !name.is_root() && name.zone_of_case(domain)) {
        return Answer::NoData(None); // An ancestor of an own domain exists, and ends there.
    }
    if let Some(range) = reverse::range(&name) {
        return reverse_name(view, question, range);
    }
    match single_label(&name) {
        Some(label) => addresses(view, question, label, None),
        None => Answer::Forward,
    }
}

/// A name inside an own domain.
fn own_name(view: &View, question: &Query, name: &Name, domain: &Name) -> Answer {
    let authority = start_of_authority(domain);
    let depth = name.iter().count().saturating_sub(domain.iter().count());
    match (depth, name.iter().next()) {
        (0, _) if question.query_type() == RecordType::SOA => Answer::Records(vec![authority]),
        (0, _) => Answer::NoData(Some(authority)),
        (1, Some(label)) => match std::str::from_utf8(label) {
            Ok(label) => addresses(view, question, label, Some(authority)),
            Err(_) => Answer::NoSuchName(Some(authority)),
        },
        _ => Answer::NoSuchName(Some(authority)),
    }
}

/// The addresses of a host by its lower-case label.
fn addresses(view: &View, question: &Query, label: &str, authority: Option<Record>) -> Answer {
    let by_address = labelled_address(label).filter(|ip| view.knows(*ip));
    let found = match view.addresses(label) {
        [] => by_address.as_slice(),
        some => some,
    };
    match question.query_type() {
        _ if found.is_empty() => Answer::NoSuchName(authority),
        RecordType::A | RecordType::ANY => {
            let record = |ip: &Ipv4Addr| own(question.name(), RData::A(A(*ip)));
            Answer::Records(found.iter().map(record).collect())
        }
        _ => Answer::NoData(authority),
    }
}

/// A name that stands for an address or a range of addresses.
fn reverse_name(view: &View, question: &Query, range: IpNet) -> Answer {
    let ours = IpNet::from(view.cidr()).contains(&range);
    let address = match range {
        IpNet::V4(range) if range.prefix_len() == 32 => Some(range.addr()),
        _ => None,
    };
    let is_whole = range.prefix_len() == range.max_prefix_len();
    if let Some(label) = address.and_then(|ip| view.label(ip)) {
        let pointers = matches!(question.query_type(), RecordType::PTR | RecordType::ANY);
        let target = view.domains().first().and_then(|domain| domain.prepend_label(label).ok());
        return match target {
            Some(target) if pointers && !has_prefix(question.name()) => {
                Answer::Records(vec![own(question.name(), RData::PTR(PTR(target)))])
            }
            _ => Answer::NoData(None),
        };
    }
    match ours || reverse::is_private(&range) {
        // A range may hold names, so it must not be denied with all that is below it (RFC 8020).
        true if !is_whole => Answer::NoData(None),
        true => Answer::NoSuchName(None),
        false => Answer::Forward,
    }
}

/// Whether something stands before the four octets of an address, as in DNS service discovery.
fn has_prefix(name: &Name) -> bool {
    name.iter().count() != 6
}

fn single_label(name: &Name) -> Option<&str> {
    let mut labels = name.iter();
    let label = labels.next().and_then(|label| std::str::from_utf8(label).ok())?;
    labels.next().is_none().then_some(label)
}

fn own(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), OWN_TTL, data)
}

/// The record that goes with negative answers and limits how long they are kept (RFC 2308).
fn start_of_authority(domain: &Name) -> Record {
    let server = domain.prepend_label("dns").unwrap_or_else(|_| domain.clone());
    let contact = domain.prepend_label("hostmaster").unwrap_or_else(|_| domain.clone());
    let hour = 3600;
    let data = SOA::new(server, contact, 1, hour, hour, hour, OWN_TTL);
    own(domain, RData::SOA(data))
}

#[cfg(test)]
mod tests;
