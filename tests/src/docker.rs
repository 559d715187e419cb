//! A host's own dockerd, in its default places, and Docker's command line on that host.

use crate::node::Node;
use crate::patience::until;
use crate::process::Process;
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

/// The image that the tests' containers are made of.
pub const IMAGE: &str = "stampede-test:1";

/// How dockerd treats the host's packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketFilter {
    /// It leaves it alone and has no bridge; starts fastest.
    Untouched,
    /// As installed: rules of its own, its bridge, and all forwarding dropped.
    Default,
}

/// A running dockerd.
pub struct Docker {
    process: Process,
}

impl Docker {
    /// Starts dockerd on a node, waits until it answers, and imports the tests' image.
    ///
    /// # Errors
    /// When it does not answer within half a minute.
    pub fn start(node: &Node, filter: PacketFilter, logs: &Path, image: &Path) -> Result<Self> {
        let mut command = node.command("dockerd");
        command
            .arg("--exec-opt=native.cgroupdriver=cgroupfs")
            .arg(format!("--cgroup-parent=/{}", node.control_group()));
        if filter == PacketFilter::Untouched {
            command.args(["--iptables=false", "--bridge=none", "--ip-forward=false"]);
            command.args(["--ip-masq=false", "--userland-proxy=false"]);
        }
        let mut process = Process::start(node, "dockerd", logs, &mut command)?;
        until("dockerd's answer", Duration::from_secs(30), || {
            process.check()?;
            node.run(&["docker", "version", "--format", "{{.Server.Version}}"])
        })?;
        node.run(&["docker", "import", &image.to_string_lossy(), IMAGE])?;
        Ok(Self { process })
    }

    /// Stops dockerd as its service would; its containers end with it.
    ///
    /// # Errors
    /// When it ends badly.
    pub fn stop(self) -> Result<()> {
        let status = self.process.stop()?;
        ensure!(status.success(), "dockerd ended with {status}");
        Ok(())
    }
}
