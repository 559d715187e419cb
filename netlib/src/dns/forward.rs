//! Asking the resolvers outside, with a small cache and a bound on questions under way.

use super::handler::Response;
use hickory_proto::op::{Query, ResponseCode};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Questions under way per network; a guest that asks for more gets a failure at once.
const UNDER_WAY: usize = 256;
/// Cached answers per network.
const CACHED: u64 = 1024;
/// How long one resolver may take, and all of them together. Guests ask again after 5 s.
const ONE_RESOLVER: Duration = Duration::from_secs(2);
const ALL_RESOLVERS: Duration = Duration::from_millis(4500);

/// Asks resolvers outside on behalf of one network's guests.
pub(super) struct Forwarder {
    current: Mutex<Option<Current>>,
    under_way: Semaphore,
}

/// The resolver in use and what it was made for.
struct Current {
    upstreams: Arc<[SocketAddr]>,
    resolver: TokioResolver,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        Self { current: Mutex::new(None), under_way: Semaphore::new(UNDER_WAY) }
    }

    /// Asks `upstreams`; a failure of all of them is an answer too.
    pub(super) async fn ask(&self, upstreams: &Arc<[SocketAddr]>, query: &Query) -> Response {
        let failure = Response::bare(ResponseCode::ServFail);
        if upstreams.is_empty() {
            return failure;
        }
        let Ok(_permit) = self.under_way.try_acquire() else { return failure };
        let resolver = match self.resolver(upstreams) {
            Ok(resolver) => resolver,
            Err(error) => {
                tracing::warn!(%error, "cannot make a resolver for questions beyond the network");
                return failure;
            }
        };
        let mut name = query.name().clone();
        name.set_fqdn(true);
        let asked = resolver.lookup(name, query.query_type());
        match tokio::time::timeout(ALL_RESOLVERS, asked).await {
            Ok(Ok(found)) => Response {
                answers: found.answers().to_vec(),
                ..Response::bare(ResponseCode::NoError)
            },
            Ok(Err(error)) => negative(&error).unwrap_or(failure),
            Err(_) => failure,
        }
    }

    /// The resolver for `upstreams`: the one in use, unless they have changed.
    fn resolver(&self, upstreams: &Arc<[SocketAddr]>) -> Result<TokioResolver, NetError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = current.as_ref().filter(|current| current.upstreams == *upstreams) {
            return Ok(current.resolver.clone());
        }
        let resolver = make(upstreams)?;
        *current = Some(Current { upstreams: upstreams.clone(), resolver: resolver.clone() });
        Ok(resolver)
    }
}

fn make(upstreams: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let server = |upstream: &SocketAddr| {
        let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
        for connection in &mut connections {
            connection.port = upstream.port();
        }
        NameServerConfig::new(upstream.ip(), true, connections)
    };
    let config = ResolverConfig::from_parts(None, vec![], upstreams.iter().map(server).collect());
    let mut options = ResolverOpts::default();
    options.timeout = ONE_RESOLVER;
    options.cache_size = CACHED;
    // The host's own file of names is none of the guests' business.
    options.use_hosts_file = ResolveHosts::Never;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

/// What a resolver's "no" looks like on the wire; `None` when there was no answer.
fn negative(error: &NetError) -> Option<Response> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => Some(Response {
            authorities: none
                .soa
                .iter()
                .map(|record| record.as_ref().clone().into_record_of_rdata())
                .collect(),
            ..Response::bare(none.response_code)
        }),
        NetError::Dns(DnsError::ResponseCode(code)) => Some(Response::bare(*code)),
        _ => None,
    }
}
