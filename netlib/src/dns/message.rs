//! DNS messages on the wire: reading questions, which may be anything, and writing answers.

use super::answer::Answer;
use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::Record;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

/// The largest answer by UDP: fits every underlay without fragments (DNS flag day 2020). In bytes.
const LARGEST_DATAGRAM: u16 = 1232;
/// The largest answer by UDP for who does not say more (RFC 1035, section 4.2.1). In bytes.
const SMALLEST_DATAGRAM: u16 = 512;
/// A header alone. In bytes.
const HEADER: usize = 12;

/// How a question came and its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// A question that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Question {
    metadata: Metadata,
    edns: Option<Edns>,
    pub(super) query: Query,
}

/// What came in.
#[derive(Clone, Debug)]
pub(super) enum Incoming {
    /// A question.
    Question(Box<Question>),
    /// Something that deserves only this answer.
    Wrong(Vec<u8>),
    /// Something that must not be answered at all.
    Noise,
}

/// What is sent back.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) code: ResponseCode,
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
}

impl Response {
    /// An answer without records.
    pub(super) fn bare(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new() }
    }

    /// What `answer` looks like on the wire; `None` when others must be asked.
    pub(super) fn of(answer: Answer) -> Option<Self> {
        let own = |code, answers, authority: Option<Record>| Self {
            code,
            authoritative: true,
            answers,
            authorities: authority.into_iter().collect(),
        };
        Some(match answer {
            Answer::Records(records) => own(ResponseCode::NoError, records, None),
            Answer::NoData(authority) => own(ResponseCode::NoError, Vec::new(), authority),
            Answer::NoSuchName(authority) => own(ResponseCode::NXDomain, Vec::new(), authority),
            Answer::Refused => Self::bare(ResponseCode::Refused),
            Answer::Forward => return None,
        })
    }
}

impl Incoming {
    /// Reads a message from a guest.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let Some(Ok(metadata)) = bytes.get(..HEADER).map(read_header) else { return Self::Noise };
        // Answering answers would make two servers talk for ever.
        if metadata.message_type != MessageType::Query {
            return Self::Noise;
        }
        if metadata.op_code != OpCode::Query {
            return Self::wrong(&metadata, ResponseCode::NotImp);
        }
        // Checked before decoding: the decoder makes room for as many questions as are claimed.
        if bytes[4..6] != [0, 1] {
            return Self::wrong(&metadata, ResponseCode::FormErr);
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return Self::wrong(&metadata, ResponseCode::FormErr);
        };
        let (edns, mut queries) = (message.edns, message.queries);
        let Some(query) = queries.pop() else {
            return Self::wrong(&metadata, ResponseCode::FormErr);
        };
        let question = Question { metadata, edns, query };
        match &question.edns {
            Some(edns) if edns.version() > 0 => {
                let refusal = Response::bare(ResponseCode::BADVERS);
                question.write(refusal, Transport::Udp).map_or(Self::Noise, Self::Wrong)
            }
            _ => Self::Question(Box::new(question)),
        }
    }

    fn wrong(metadata: &Metadata, code: ResponseCode) -> Self {
        let message = Message::error_msg(metadata.id, metadata.op_code, code);
        message.to_vec().map_or(Self::Noise, Self::Wrong)
    }
}

fn read_header(bytes: &[u8]) -> Result<Metadata, ()> {
    let header = hickory_proto::op::Header::read(&mut BinDecoder::new(bytes)).map_err(drop)?;
    Ok(header.metadata)
}

impl Question {
    /// Writes the answer; cut short, with the flag that says so, where it does not fit the
    /// transport. `None` when it cannot be written at all.
    pub(super) fn write(&self, response: Response, transport: Transport) -> Option<Vec<u8>> {
        let mut message = Message::response(self.metadata.id, OpCode::Query);
        message.metadata.recursion_desired = self.metadata.recursion_desired;
        message.metadata.checking_disabled = self.metadata.checking_disabled;
        message.metadata.recursion_available = true;
        message.metadata.authoritative = response.authoritative;
        message.metadata.response_code = response.code;
        message.queries.push(self.query.clone());
        message.answers = response.answers;
        message.authorities = response.authorities;
        if self.edns.is_some() {
            let mut edns = Edns::new();
            edns.set_max_payload(LARGEST_DATAGRAM).set_version(0);
            message.edns = Some(edns);
        }
        let mut bytes = Vec::with_capacity(usize::from(SMALLEST_DATAGRAM));
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(self.room(transport));
        message.emit(&mut encoder).ok()?;
        Some(bytes)
    }

    fn room(&self, transport: Transport) -> u16 {
        let accepted = self.edns.as_ref().map_or(SMALLEST_DATAGRAM, Edns::max_payload);
        match transport {
            Transport::Udp => accepted.clamp(SMALLEST_DATAGRAM, LARGEST_DATAGRAM),
            Transport::Tcp => u16::MAX,
        }
    }
}

#[cfg(test)]
mod tests;
