//! What is sent back for a request, however it came.
//!
//! The library reads requests and writes responses; here is decided what they say: out of the
//! newest view, or by asking others.

use super::answer::{Answer, answer};
use super::forward::Forwarder;
use super::view::View;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use hickory_proto::op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::Record;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use std::sync::Arc;

/// The largest answer by UDP: fits every underlay without fragments (DNS flag day 2020). In bytes.
const LARGEST_DATAGRAM: u16 = 1232;
/// The largest answer by UDP for who does not say more (RFC 1035, section 4.2.1). In bytes.
const SMALLEST_DATAGRAM: u16 = 512;

/// Answers the questions of one network.
#[derive(Clone)]
pub(super) struct Handler {
    view: Arc<ArcSwap<View>>,
    forwarder: Arc<Forwarder>,
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
    fn of(answer: Answer) -> Option<Self> {
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

    fn metadata(&self, request: &Metadata) -> Metadata {
        let mut metadata = Metadata::response_from_request(request);
        metadata.recursion_available = true;
        metadata.authoritative = self.authoritative;
        metadata.response_code = self.code;
        metadata
    }
}

impl Handler {
    pub(super) fn new(view: Arc<ArcSwap<View>>) -> Self {
        Self { view, forwarder: Arc::new(Forwarder::new()) }
    }

    async fn respond(&self, request: &Request) -> Response {
        let view = self.view.load_full();
        match (at_once(&view, request), request.queries.queries()) {
            (Some(response), _) => response,
            (None, [query, ..]) => self.forwarder.ask(view.upstreams(), query.original()).await,
            (None, []) => Response::bare(ResponseCode::FormErr),
        }
    }
}

/// The response where nobody else has to be asked.
fn at_once(view: &View, request: &Request) -> Option<Response> {
    if request.metadata.op_code != OpCode::Query {
        return Some(Response::bare(ResponseCode::NotImp));
    }
    let [query] = request.queries.queries() else {
        return Some(Response::bare(ResponseCode::FormErr));
    };
    if request.version() > 0 {
        return Some(Response::bare(ResponseCode::BADVERS));
    }
    Response::of(answer(view, query.original()))
}

/// The extensions of the response to who has sent some (RFC 6891). The library cuts a datagram at
/// the size that they name, so that is what both sides can take.
fn extensions(request: &Request) -> Option<Edns> {
    let accepted = request.edns.as_ref()?.max_payload();
    let mut edns = Edns::new();
    edns.set_max_payload(accepted.clamp(SMALLEST_DATAGRAM, LARGEST_DATAGRAM)).set_version(0);
    Some(edns)
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut way_back: R,
    ) -> ResponseInfo {
        let response = self.respond(request).await;
        let metadata = response.metadata(&request.metadata);
        let extensions = extensions(request);
        let message = MessageResponseBuilder::new(&request.queries, extensions.as_ref()).build(
            metadata,
            &response.answers,
            &response.authorities,
            [],
            [],
        );
        way_back.send_response(message).await.unwrap_or_else(|error| {
            tracing::debug!(peer = %request.src(), %error, "cannot send a DNS answer");
            Header { metadata, counts: HeaderCounts::default() }.into()
        })
    }
}

#[cfg(test)]
mod tests;
