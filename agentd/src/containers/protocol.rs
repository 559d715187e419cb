//! The messages of Docker's remote network and IPAM driver protocol.
//!
//! Source: libnetwork's `docs/remote.md`, `docs/ipam.md`, `drivers/remote/api` and
//! `ipams/remote/api`. Only fields that are read or answered are named; Docker ignores the rest
//! and so do we. Owns no behaviour.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where libnetwork puts the options that a user gave to a network.
pub const GENERIC_OPTIONS: &str = "com.docker.network.generic";
/// Tells a request for the gateway's address from one for an endpoint's.
pub const REQUEST_TYPE: &str = "RequestAddressType";
/// The value of [`REQUEST_TYPE`] for a gateway.
pub const GATEWAY_REQUEST: &str = "com.docker.network.gateway";

/// `/NetworkDriver.CreateNetwork`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateNetwork {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Options by label; those of the user below [`GENERIC_OPTIONS`].
    #[serde(default)]
    pub options: Option<Map<String, Value>>,
}

/// `/NetworkDriver.DeleteNetwork`, and the network part of other calls.
#[derive(Debug, Deserialize)]
pub struct NetworkOnly {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
}

/// `/NetworkDriver.CreateEndpoint`.
#[derive(Debug, Deserialize)]
pub struct CreateEndpoint {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
    /// The addresses that IPAM gave.
    #[serde(rename = "Interface", default)]
    pub interface: Option<Interface>,
}

/// Addresses of an endpoint; in an answer only what the request left empty may be set.
#[derive(Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Interface {
    /// IPv4 address with prefix length.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// Ethernet address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac_address: String,
}

/// The answer to [`CreateEndpoint`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EndpointCreated {
    /// What the driver adds.
    pub interface: Interface,
}

/// `/NetworkDriver.DeleteEndpoint`, `Leave`, `EndpointOperInfo` and `Join`.
#[derive(Debug, Deserialize)]
pub struct EndpointOnly {
    /// Docker's id of the network.
    #[serde(rename = "NetworkID")]
    pub network: String,
    /// Docker's id of the endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: String,
}

/// The answer to `/NetworkDriver.Join`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Joined {
    /// The device to move into the container, and how to name it there.
    pub interface_name: InterfaceName,
    /// The default route's next hop.
    pub gateway: String,
    /// Keeps Docker from adding a bridge of its own for egress.
    pub disable_gateway_service: bool,
}

/// A device of the root namespace that Docker moves into a container.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InterfaceName {
    /// Its name now.
    pub src_name: String,
    /// What its name in the container begins with.
    pub dst_prefix: &'static str,
}

/// `/IpamDriver.RequestPool`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestPool {
    /// The wanted range, if any.
    #[serde(default)]
    pub pool: String,
    /// Options given to IPAM.
    #[serde(default)]
    pub options: Option<Map<String, Value>>,
    /// Whether an IPv6 range is wanted.
    #[serde(rename = "V6", default)]
    pub v6: bool,
}

/// The answer to [`RequestPool`].
#[derive(Debug, Serialize)]
pub struct Pool {
    /// Names the pool in later calls.
    #[serde(rename = "PoolID")]
    pub id: String,
    /// The range.
    #[serde(rename = "Pool")]
    pub range: String,
}

/// `/IpamDriver.RequestAddress`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RequestAddress {
    /// The pool.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// The wanted address; empty means any.
    #[serde(default)]
    pub address: String,
    /// Tells what it is for.
    #[serde(default)]
    pub options: Option<Map<String, Value>>,
}

/// The answer to [`RequestAddress`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Address {
    /// With prefix length.
    pub address: String,
}

/// `/IpamDriver.ReleaseAddress`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReleaseAddress {
    /// The pool.
    #[serde(rename = "PoolID")]
    pub pool: String,
    /// Without prefix length.
    pub address: String,
}

/// The VNI in a map of options: a user's option `vni`, a decimal number as text.
#[must_use]
pub fn vni_option(options: Option<&Map<String, Value>>) -> Option<u32> {
    match options?.get(VNI_OPTION)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64().and_then(|number| number.try_into().ok()),
        _ => None,
    }
}

/// The option that names the managed network, on Docker's networks and on their IPAM.
pub const VNI_OPTION: &str = "vni";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vni_is_read_from_text_and_number() {
        for (options, vni) in [
            (r#"{"vni":"8388608"}"#, Some(0x0080_0000)),
            (r#"{"vni":8388608}"#, Some(0x0080_0000)),
            (r#"{"vni":-1}"#, None),
            (r#"{"vni":"eight"}"#, None),
            (r#"{}"#, None),
        ] {
            let options: Map<String, Value> = serde_json::from_str(options).unwrap();
            assert_eq!(vni_option(Some(&options)), vni);
        }
        assert_eq!(vni_option(None), None);
    }

    #[test]
    fn docker_s_nulls_are_read_as_nothing() {
        let request: CreateEndpoint =
            serde_json::from_str(r#"{"NetworkID":"n","EndpointID":"e","Interface":null}"#).unwrap();
        assert!(request.interface.is_none());
        let request: RequestAddress =
            serde_json::from_str(r#"{"PoolID":"p","Address":"","Options":null}"#).unwrap();
        assert!(request.options.is_none());
    }
}
