//! Tries what this host's kernel and tools can do, each in a namespace of its own that is gone
//! afterwards. Told at start, not met in the middle of a plan.

use crate::dataplane::facts::{Kind, Link};
use crate::dataplane::message;
use crate::namespace::{Namespace, OpenError};
use crate::netlink::Manner;
use crate::netns;
use crate::nft::{NftError, command};
use netlink_packet_route::RouteNetlinkMessage;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a tool may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why a capability is missing.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No namespace to try it in.
    #[error("cannot make a network namespace to try in")]
    Scratch(#[source] io::Error),
    /// No socket to ask through.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The kernel refuses.
    #[error("this kernel has no {what}")]
    Kernel {
        /// The capability.
        what: &'static str,
        /// The kernel's word.
        #[source]
        source: io::Error,
    },
    /// nft refuses.
    #[error("cannot use nftables")]
    Rules(#[from] NftError),
}

/// A namespace that nobody else sees and that ends with this value.
fn scratch() -> Result<Namespace, ProbeError> {
    let runtime = tokio::runtime::Handle::current();
    let open = || -> Result<Namespace, ProbeError> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(|errno| ProbeError::Scratch(errno.into()))?;
        let _entered = runtime.enter();
        Ok(Namespace::open(Path::new(netns::CURRENT))?)
    };
    std::thread::scope(|scope| match scope.spawn(open).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Whether VXLAN devices can be made; the detail names what was tried.
///
/// # Errors
/// When not, with the reason.
pub async fn vxlan() -> Result<String, ProbeError> {
    const NAME: &str = "probe0";
    let namespace = scratch()?;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let kind = Kind::Vxlan { vni: 1, local, port: 14789, learning: false };
    let link = Link { kind, mac: None, mtu: 1400, port: None, up: false };
    let failed = |source| ProbeError::Kernel { what: "VXLAN", source };
    if let Some(message) = message::device(NAME, &link, namespace.descriptor()) {
        let request = RouteNetlinkMessage::NewLink(message);
        namespace.netlink.ask(request, Manner::Create).await.map_err(failed)?;
    }
    if let Some(index) = namespace.index(NAME).await.map_err(failed)? {
        let request = RouteNetlinkMessage::DelLink(message::link(index));
        namespace.netlink.ask(request, Manner::Change).await.map_err(failed)?;
    }
    Ok("a VXLAN device was made and removed".into())
}

/// Whether nft and the kernel do what our rules take: translation by maps, bridge guards.
///
/// # Errors
/// When not, with the reason.
pub async fn nftables() -> Result<String, ProbeError> {
    let namespace = scratch()?;
    let script = "table inet probe {
          map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
          chain dstnat { type nat hook prerouting priority dstnat; policy accept;
            fib daddr type local dnat ip to meta l4proto . th dport map @ports
          }
        }
        table bridge probe {
          set guests { type ifname . ether_addr . ipv4_addr; }
          chain ports { type filter hook prerouting priority -300; policy drop;
            iifname . ether saddr . ip saddr @guests accept
          }
        }
        delete table inet probe
        delete table bridge probe
        ";
    command::apply(&namespace.file, script).await?;
    Ok("maps and bridge guards were made and removed".into())
}

/// Whether the kernel can encrypt with ESP (RFC 4303) and AES-GCM (RFC 4106): adds one security
/// association, with a key of zeros, where nothing can use it.
///
/// # Errors
/// When not, with the reason.
pub async fn esp() -> Result<String, ProbeError> {
    const ADD: &str = "xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x100 mode transport \
                       aead rfc4106(gcm(aes)) 0x0000000000000000000000000000000000000000 128";
    let namespace = scratch()?;
    let what = "ESP with AES-GCM";
    let failed = |source| ProbeError::Kernel { what, source };
    let runtime = tokio::runtime::Handle::current();
    let child = netns::within(&namespace.file, || {
        let _entered = runtime.enter();
        Command::new("ip")
            .args(ADD.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    });
    let child = child.and_then(|child| child).map_err(failed)?;
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await;
    let output = output.map_err(|late| failed(late.into()))?.map_err(failed)?;
    if output.status.success() {
        Ok("an ESP association with AES-GCM was added and removed".into())
    } else {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(failed(io::Error::other(message)))
    }
}
