//! The network between the hosts, and a client outside.
//!
//! 203.0.113.0/24 stands for the data centre: controld is .10, hosts are .11 and up, the outside is
//! .100. The outside is also the hosts' router and what they reach as the internet, 198.51.100.1.

use crate::node::Node;
use anyhow::Result;
use std::net::Ipv4Addr;
use std::path::Path;

/// The address of the client outside.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);

/// An address beyond the hosts' default route.
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A switch with a client outside.
pub struct Underlay {
    switch: Node,
    /// The client outside.
    pub outside: Node,
}

impl Underlay {
    /// Makes the switch and the client.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(folder: &Path, logs: &Path) -> Result<Self> {
        let switch = Node::start("switch", &folder.join("switch"), logs)?;
        switch.network("ip link add switch0 up type bridge stp_state 0 mcast_snooping 0")?;
        let outside = Node::start("outside", &folder.join("outside"), logs)?;
        let underlay = Self { switch, outside };
        underlay.join(&underlay.outside, OUTSIDE)?;
        underlay.outside.network(&format!("ip address add {INTERNET}/32 dev lo"))?;
        Ok(underlay)
    }

    /// Gives a node an `eth0` with an address on this network, and the default route.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn join(&self, node: &Node, address: Ipv4Addr) -> Result<()> {
        let port = self.port(node);
        let peer = node.first_process();
        self.switch.network(&format!(
            "ip link add {port} up master switch0 type veth peer name eth0 netns {peer}"
        ))?;
        node.network(&format!("ip address add {address}/24 dev eth0"))?;
        // Without an address of the kernel's own making, which would settle only seconds later and
        // look like a change.
        node.network("ip link set eth0 addrgenmode none")?;
        node.network("ip link set eth0 up")?;
        if address != OUTSIDE {
            node.network(&format!("ip route add default via {OUTSIDE}"))?;
        }
        Ok(())
    }

    /// The switch; captures and link failures happen there.
    #[must_use]
    pub fn switch(&self) -> &Node {
        &self.switch
    }

    /// The switch's port of a node.
    #[must_use]
    pub fn port(&self, node: &Node) -> String {
        format!("p-{}", node.name())
    }
}
