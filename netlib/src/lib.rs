//! A host's network as a library.
//!
//! Knows namespaces, links, VXLAN, nftables, DHCP and DNS; knows nothing of Docker, libvirt or
//! controld. Everything it makes is named by prefix or lives in its own nft table or namespace, and
//! it touches nothing else.

pub mod dataplane;
pub mod desired;
pub mod dhcp;
pub mod dns;
pub mod forward_accept;
pub mod mac;
pub mod names;
pub mod namespace;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod probe;
pub mod settings;
