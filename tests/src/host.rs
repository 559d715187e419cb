//! A host of the cloud: a node with its own dockerd, libvirtd and agentd in their default places.

use crate::docker::{Docker, PacketFilter};
use crate::images;
use crate::libvirt::Libvirt;
use crate::node::Node;
use crate::patience::until;
use crate::process::Process;
use crate::programs;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// agentd's settings inside a host.
const CONFIG: &str = "/etc/agentd.toml";

/// What a host has besides agentd.
#[derive(Clone, Copy, Debug)]
pub struct Equipment {
    /// Its dockerd, if it has one, and how that treats the packet filter.
    pub docker: Option<PacketFilter>,
    /// Whether it has a libvirtd.
    pub libvirt: bool,
    /// Whether agentd's drivers are simulated.
    pub simulated: bool,
}

impl Equipment {
    /// Containers only.
    pub const CONTAINERS: Self =
        Self { docker: Some(PacketFilter::Untouched), libvirt: false, simulated: false };
    /// Containers and machines.
    pub const BOTH: Self = Self { libvirt: true, ..Self::CONTAINERS };
    /// Nothing real.
    pub const SIMULATED: Self = Self { docker: None, libvirt: false, simulated: true };
}

/// A host.
pub struct Host {
    agentd: Option<Process>,
    docker: Option<Docker>,
    _libvirt: Option<Libvirt>,
    /// Its namespaces.
    pub node: Node,
    /// Its address on the underlay.
    pub address: Ipv4Addr,
    logs: PathBuf,
    equipment: Equipment,
}

impl Host {
    /// Equips a node that is on the underlay already; agentd is not started yet.
    ///
    /// # Errors
    /// When a daemon does not come up.
    pub fn equip(
        node: Node,
        address: Ipv4Addr,
        equipment: Equipment,
        controld: Ipv4Addr,
        logs: &Path,
    ) -> Result<Self> {
        let docker = equipment.docker.map(|filter| start_docker(&node, filter, logs));
        let docker = docker.transpose()?;
        let libvirt = equipment.libvirt.then(|| Libvirt::start(&node, logs)).transpose()?;
        let settings = format!(
            "controld = \"https://{controld}:9443\"\ntoken_file = \"/etc/stampede-token\"\n\
             overlay = [\"vxlan\"]\nallow = [\"file-images\"]\nsimulate = {}\n",
            equipment.simulated
        );
        node.shell(&format!("cat >{CONFIG} <<'END'\n{settings}END"))?;
        Ok(Self {
            agentd: None,
            docker,
            _libvirt: libvirt,
            node,
            address,
            logs: logs.into(),
            equipment,
        })
    }

    /// Puts the registration token where agentd looks for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give_token(&self, token: &str) -> Result<()> {
        self.node.shell(&format!("umask 077; echo '{token}' >/etc/stampede-token"))?;
        Ok(())
    }

    /// Starts agentd and waits until its control socket answers.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub fn start_agentd(&mut self) -> Result<()> {
        let mut command = self.node.command(programs::find("agentd")?);
        command.args(["run", "--config", CONFIG]).env("RUST_LOG", "info,agentd=debug");
        let mut agentd = Process::start(&self.node, "agentd", &self.logs, &mut command)?;
        until("agentd's answer", Duration::from_secs(30), || {
            agentd.check()?;
            self.status()
        })?;
        self.agentd = Some(agentd);
        Ok(())
    }

    /// Asks agentd to end.
    ///
    /// # Errors
    /// When it is not running or ends badly.
    pub fn stop_agentd(&mut self) -> Result<()> {
        let status = self.agentd.take().context("agentd is not running")?.stop()?;
        anyhow::ensure!(status.success(), "agentd ended with {status}");
        Ok(())
    }

    /// Ends agentd as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill_agentd(&mut self) -> Result<()> {
        self.agentd.take().context("agentd is not running")?.kill()?;
        Ok(())
    }

    /// What `agentd status --json` says.
    ///
    /// # Errors
    /// When agentd does not answer.
    pub fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.agentd(&["status", "--json"])?)?)
    }

    /// Makes every reconciler look again, without a reason.
    ///
    /// # Errors
    /// When agentd does not answer.
    pub fn look_again(&self) -> Result<()> {
        let status = self.status()?;
        let pid = status["pid"].as_u64().context("agentd tells no process id")?;
        self.node.shell(&format!("kill -HUP {pid}"))?;
        Ok(())
    }

    /// Runs an agentd command with this host's settings.
    ///
    /// # Errors
    /// When it ends with another status than 0.
    pub fn agentd(&self, arguments: &[&str]) -> Result<String> {
        let program = programs::find("agentd")?;
        let program = program.to_string_lossy();
        let (command, rest) = arguments.split_first().context("there is no command")?;
        let mut line = vec![&*program, command, "--config", CONFIG];
        line.extend(rest);
        self.node.run(&line)
    }

    /// Runs a Docker command on this host.
    ///
    /// # Errors
    /// When it ends with another status than 0.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let mut line = vec!["docker"];
        line.extend(arguments);
        Ok(self.node.run(&line)?.trim_end().to_owned())
    }

    /// Stops dockerd and starts it again.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restart_docker(&mut self) -> Result<()> {
        let filter = self.equipment.docker.context("this host has no Docker")?;
        self.docker.take().context("dockerd is not running")?.stop()?;
        self.docker = Some(start_docker(&self.node, filter, &self.logs)?);
        Ok(())
    }

    /// What the machine `uuid` wrote to its serial console so far.
    ///
    /// # Errors
    /// When there is no such console.
    pub fn console(&self, uuid: &str) -> Result<String> {
        let folder = self.node.folder().join("stampede/agentd/storage/machines").join(uuid);
        let log = folder.join("serial.log");
        let bytes = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).replace('\r', ""))
    }
}

fn start_docker(node: &Node, filter: PacketFilter, logs: &Path) -> Result<Docker> {
    Docker::start(node, filter, logs, &images::container()?)
}
