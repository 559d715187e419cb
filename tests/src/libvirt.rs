//! A host's own libvirtd, in its default places.

use crate::node::Node;
use crate::patience::until;
use crate::process::Process;
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

/// A running libvirtd; its machines run on when it ends, until their node does.
pub struct Libvirt {
    _libvirtd: Process,
    _virtlogd: Process,
}

impl Libvirt {
    /// Starts libvirtd on a node and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer within half a minute.
    pub fn start(node: &Node, logs: &Path) -> Result<Self> {
        let virtlogd = Process::start(node, "virtlogd", logs, &mut node.command("virtlogd"))?;
        let mut command = node.command("libvirtd");
        command.args(["--timeout", "0"]);
        let mut libvirtd = Process::start(node, "libvirtd", logs, &mut command)?;
        until("libvirtd's answer", Duration::from_secs(30), || {
            libvirtd.check()?;
            node.run(&["virsh", "-c", "qemu:///system", "version"])
        })?;
        Ok(Self { _libvirtd: libvirtd, _virtlogd: virtlogd })
    }
}
