//! What agentd answers when Docker makes, joins, leaves and removes networks and endpoints.
//!
//! Nothing here calls Docker: dockerd waits for the answer, at times holding the very lock the call
//! would need. The order is: note durably, then answer; so a crash in between costs an address of
//! the reserve some minutes, never gives one twice.

use super::attach::{AttachError, Attacher};
use super::book::{Book, BookError};
use super::ipam::{self, IpamError, Rest};
use super::journal::{Place, Port, Record};
use super::protocol::*;
use crate::desired::Desired;
use api::mac::Mac;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a starting container may wait for its network.
pub const READY_WITHIN: Duration = Duration::from_millis(4500);

/// Why Docker gets no for an answer. Shown to whoever ran the Docker command.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// No address or pool.
    #[error(transparent)]
    Ipam(#[from] IpamError),
    /// Docker named a network it never told of.
    #[error("cannot find Docker network {0} among Stampede's; agentd looks for it now, try again")]
    UnknownNetwork(String),
    /// Docker named an endpoint it never told of.
    #[error("cannot find endpoint {0} among Stampede's; start the container again")]
    UnknownEndpoint(String),
    /// The endpoint came without an address.
    #[error("cannot make endpoint {0} without an address: use the IPAM driver stampede")]
    NoAddress(String),
    /// Somebody wants a MAC that the guards would not let pass.
    #[error("cannot use Ethernet address {asked} at {ip}: Stampede's own for it is {ours}")]
    OtherMac {
        /// The address it is for.
        ip: Ipv4Addr,
        /// What was asked for.
        asked: String,
        /// What goes with the address.
        ours: Mac,
    },
    /// The network did not come up in time.
    #[error(
        "cannot join network {name} yet: it was not in place within {} s; see `agentd doctor`",
        READY_WITHIN.as_secs_f32()
    )]
    NotReady {
        /// The network's name.
        name: String,
    },
    /// The port could not be made or removed.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The journal could not be written.
    #[error(transparent)]
    Book(#[from] BookError),
}

/// The driver's side of Docker's conversation.
pub struct NetworkDriver {
    desired: watch::Receiver<Arc<Desired>>,
    book: Book,
    rest: Arc<Mutex<Rest>>,
    attacher: Arc<dyn Attacher>,
}

impl NetworkDriver {
    /// A driver that answers from the newest snapshot.
    #[must_use]
    pub fn new(
        desired: watch::Receiver<Arc<Desired>>,
        book: Book,
        attacher: Arc<dyn Attacher>,
    ) -> Self {
        Self { desired, book, rest: Arc::default(), attacher }
    }

    fn snapshot(&self) -> Arc<Desired> {
        self.desired.borrow().clone()
    }

    /// `/NetworkDriver.CreateNetwork`.
    pub async fn create_network(&self, request: CreateNetwork) -> Result<(), DriverError> {
        let generic = request.options.as_ref().and_then(|options| options.get(GENERIC_OPTIONS));
        let options = generic.and_then(|generic| generic.as_object());
        let vni = vni_option(options).ok_or(IpamError::NoNetworkNamed)?;
        ipam::network(&self.snapshot(), vni)?;
        Ok(self.book.note(vec![Record::Network { id: request.network, vni }]).await?)
    }

    /// `/NetworkDriver.DeleteNetwork`.
    pub async fn delete_network(&self, request: NetworkOnly) -> Result<(), DriverError> {
        Ok(self.book.note(vec![Record::NetworkGone { id: request.network }]).await?)
    }

    /// `/NetworkDriver.CreateEndpoint`: notes the endpoint's address, answers with its MAC.
    pub async fn create_endpoint(
        &self,
        request: CreateEndpoint,
    ) -> Result<EndpointCreated, DriverError> {
        let state = self.book.state();
        let vni = *state
            .networks
            .get(&request.network)
            .ok_or_else(|| DriverError::UnknownNetwork(request.network.clone()))?;
        let interface = request.interface.unwrap_or_default();
        if interface.address.is_empty() {
            return Err(DriverError::NoAddress(request.endpoint));
        }
        let desired = self.snapshot();
        let name = &ipam::network(&desired, vni)?.name;
        let place = Place { vni, ip: parse_ip(&interface.address)? };
        let ours = ipam::mac(&desired, place)
            .ok_or_else(|| IpamError::NotOurs { ip: place.ip, name: name.clone() })?;
        let mac_address = match interface.mac_address.as_str() {
            "" => ours.to_string(),
            asked if asked.parse().is_ok_and(|asked: Mac| asked == ours) => String::new(),
            asked => return Err(other_mac(place, asked, ours)),
        };
        let port = Port { place, mac: ours };
        let mut records = vec![Record::Endpoint { id: request.endpoint, port }];
        if ipam::is_reserved(&desired, place) {
            records.push(Record::Taken(place));
        }
        self.book.note(records).await?;
        Ok(EndpointCreated { interface: Interface { address: String::new(), mac_address } })
    }

    /// `/NetworkDriver.DeleteEndpoint`; the port goes too if a crash kept Docker from leaving.
    pub async fn delete_endpoint(&self, request: EndpointOnly) -> Result<(), DriverError> {
        self.detach(&request.endpoint).await?;
        Ok(self.book.note(vec![Record::EndpointGone { id: request.endpoint }]).await?)
    }

    /// `/NetworkDriver.Join`: waits for the network and makes the port.
    pub async fn join(&self, request: EndpointOnly) -> Result<Joined, DriverError> {
        let state = self.book.state();
        let port = *state
            .endpoints
            .get(&request.endpoint)
            .ok_or_else(|| DriverError::UnknownEndpoint(request.endpoint.clone()))?;
        let desired = self.snapshot();
        let network = ipam::network(&desired, port.place.vni)?;
        tokio::time::timeout(READY_WITHIN, self.attacher.ready(port.place))
            .await
            .map_err(|_| DriverError::NotReady { name: network.name.clone() })??;
        let src_name = self.attacher.attach(port, network.mtu).await?;
        Ok(Joined {
            interface_name: InterfaceName { src_name, dst_prefix: "eth" },
            gateway: network.gateway.to_string(),
            disable_gateway_service: true,
        })
    }

    /// `/NetworkDriver.Leave`.
    pub async fn leave(&self, request: EndpointOnly) -> Result<(), DriverError> {
        self.detach(&request.endpoint).await
    }

    /// Removes an endpoint's port. One that Docker speaks of and we do not know has lost its
    /// address to a newer endpoint, or was removed before; neither is an error.
    async fn detach(&self, endpoint: &str) -> Result<(), DriverError> {
        if let Some(port) = self.book.state().endpoints.get(endpoint) {
            self.attacher.detach(port.place).await?;
        }
        Ok(())
    }

    /// `/IpamDriver.RequestPool`.
    pub fn request_pool(&self, request: &RequestPool) -> Result<Pool, DriverError> {
        if request.v6 {
            return Err(IpamError::NoIpv6.into());
        }
        let vni = vni_option(request.options.as_ref()).ok_or(IpamError::NoNetworkNamed)?;
        let desired = self.snapshot();
        let network = ipam::network(&desired, vni)?;
        ipam::check_range(network, &request.pool)?;
        Ok(Pool { id: ipam::pool_id(vni), range: network.cidr.trunc().to_string() })
    }

    /// `/IpamDriver.RequestAddress`: durable before it is answered.
    pub async fn request_address(&self, request: RequestAddress) -> Result<Address, DriverError> {
        let vni = ipam::pool_vni(&request.pool)?;
        let desired = self.snapshot();
        let network = ipam::network(&desired, vni)?.clone();
        let prefix = network.cidr.prefix_len();
        let asked = match request.address.as_str() {
            "" => None,
            text => Some(parse_ip(text)?),
        };
        let options = request.options.as_ref();
        let gateway = options.and_then(|options| options.get(REQUEST_TYPE)?.as_str());
        if gateway == Some(GATEWAY_REQUEST) || asked == Some(network.gateway) {
            return Ok(Address { address: format!("{}/{prefix}", network.gateway) });
        }
        let rest = self.rest.clone();
        let choose = move |state: &super::journal::State| -> Result<_, DriverError> {
            let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
            let rested = rest.ended(state, Instant::now()).into_iter().map(Record::Rested);
            let mut records: Vec<Record> = rested.collect();
            let mut state = state.clone();
            for record in &records {
                state.apply(record);
            }
            let gift = ipam::choose(&desired, &state, &rest, &network, asked)?;
            records.extend(gift.records);
            Ok((gift.ip, records))
        };
        let ip = self.book.decide(choose).await?;
        Ok(Address { address: format!("{ip}/{prefix}") })
    }

    /// `/IpamDriver.ReleaseAddress`; an address of the reserve begins to rest.
    pub async fn release_address(&self, request: ReleaseAddress) -> Result<(), DriverError> {
        let vni = ipam::pool_vni(&request.pool)?;
        let place = Place { vni, ip: parse_ip(&request.address)? };
        self.book.note(vec![Record::Released(place)]).await?;
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.begin(place, Instant::now());
        Ok(())
    }
}

fn other_mac(place: Place, asked: &str, ours: Mac) -> DriverError {
    DriverError::OtherMac { ip: place.ip, asked: asked.chars().take(40).collect(), ours }
}

/// Reads an address with or without a prefix length.
fn parse_ip(text: &str) -> Result<Ipv4Addr, IpamError> {
    let bare = text.split('/').next().unwrap_or_default();
    bare.parse().map_err(|_| IpamError::BadAddress(text.chars().take(60).collect()))
}
