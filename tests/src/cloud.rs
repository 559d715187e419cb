//! A whole cloud: underlay, controld, hosts.

use crate::host::{Equipment, Host};
use crate::images;
use crate::node::Node;
use crate::patience::until;
use crate::process::{Process, tail};
use crate::programs;
use crate::rest::{self, Api};
use crate::underlay::Underlay;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// controld's address on the underlay.
pub const CONTROLD: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// The image's uuid that tests name for machines.
pub const MACHINE_IMAGE: &str = "test-machine";

/// Removed things go at once and addresses rest only a moment, so that a test sees the end of them.
const SETTINGS: &str = "overlay = \"vxlan\"\npurge_after = 0\naddress_rest = 0\n";

/// A cloud made of namespaces.
pub struct Cloud {
    // In this order everything is ended: hosts, controld, the network.
    /// The hosts, in the order of their numbers.
    pub hosts: Vec<Host>,
    controld: Option<Process>,
    /// The node that controld runs in.
    pub control: Node,
    /// What connects them.
    pub underlay: Underlay,
    folder: PathBuf,
    logs: PathBuf,
    passed: bool,
}

impl Cloud {
    /// Starts a cloud with a controld and no host.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("stampede-").tempdir()?.keep();
        let logs = folder.join("logs");
        fs::create_dir(&logs)?;
        let underlay = Underlay::start(&folder, &logs)?;
        let control = Node::start("control", &folder.join("control"), &logs)?;
        underlay.join(&control, CONTROLD)?;
        control.shell(&format!("cat >/etc/controld.toml <<'END'\n{SETTINGS}END"))?;
        let mut cloud =
            Self { hosts: vec![], controld: None, control, underlay, folder, logs, passed: false };
        cloud.start_controld()?;
        Ok(cloud)
    }

    /// Starts a cloud with active hosts of the given equipment.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn with_hosts(equipment: &[Equipment]) -> Result<Self> {
        let mut cloud = Self::start()?;
        for one in equipment {
            cloud.add_host(*one)?;
        }
        Ok(cloud)
    }

    /// The API as the admin sees it.
    #[must_use]
    pub fn api(&self) -> Api<'_> {
        Api { node: &self.control }
    }

    /// Starts controld and waits until it answers.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub fn start_controld(&mut self) -> Result<()> {
        let mut command = self.control.command(programs::find("controld")?);
        command.args(["serve", "--open", "--config", "/etc/controld.toml"]).args([
            "--listen",
            rest::LISTEN,
            "--agent-listen",
            &format!("{CONTROLD}:9443"),
        ]);
        let mut controld = Process::start(&self.control, "controld", &self.logs, &mut command)?;
        until("controld's answer", Duration::from_secs(30), || {
            controld.check()?;
            let answer = rest::request(&self.control, "GET", "/ping", &[], None)?;
            ensure!(answer.status == 200, "it answered {}", answer.status);
            Ok(())
        })?;
        self.controld = Some(controld);
        Ok(())
    }

    /// Asks controld to end.
    ///
    /// # Errors
    /// When it is not running or ends badly.
    pub fn stop_controld(&mut self) -> Result<()> {
        let status = self.controld.take().context("controld is not running")?.stop()?;
        ensure!(status.success(), "controld ended with {status}");
        Ok(())
    }

    /// A new registration token, by the command that operators use.
    ///
    /// # Errors
    /// When controld refuses.
    pub fn token(&self, arguments: &[&str]) -> Result<String> {
        let program = programs::find("controld")?;
        let mut line = vec![program.to_str().context("the program's path is no text")?];
        line.extend(["token", "create"]);
        line.extend(arguments);
        let output = self.control.run(&line)?;
        let token = output.split_whitespace().last().context("no token was printed")?;
        Ok(token.to_owned())
    }

    /// Adds a node to the underlay and equips it as a host; agentd is not started yet.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn equip_host(&mut self, equipment: Equipment) -> Result<&mut Host> {
        let number = self.hosts.len() as u8 + 1;
        let name = format!("h{number}");
        let node = Node::start(&name, &self.folder.join(&name), &self.logs)?;
        let address = Ipv4Addr::new(203, 0, 113, 10 + number);
        self.underlay.join(&node, address)?;
        self.hosts.push(Host::equip(node, address, equipment, CONTROLD, &self.logs)?);
        self.hosts.last_mut().context("the host that was just added is gone")
    }

    /// Adds a host, enrols it with a real token, and waits until it is active.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn add_host(&mut self, equipment: Equipment) -> Result<()> {
        let token = self.token(&[])?;
        let host = self.equip_host(equipment)?;
        host.give_token(&token)?;
        host.start_agentd()?;
        until("the host's first snapshot", Duration::from_secs(30), || {
            let known = self.hosts[self.hosts.len() - 1].status()?["host"].clone();
            ensure!(known.is_string(), "agentd does not know who it is");
            Ok(())
        })?;
        let number = self.hosts.len();
        until("the host's enrolment", Duration::from_secs(30), || {
            let active = self.api().list("hosts?state=active")?.len();
            ensure!(active == number, "{active} of {number} hosts are active");
            Ok(())
        })
    }

    /// The resource id of a host, by its place in `hosts`.
    ///
    /// # Errors
    /// When the API does not show it.
    pub fn host_id(&self, index: usize) -> Result<String> {
        let name = self.hosts[index].node.name();
        let found = self.api().list(&format!("hosts?name={name}&removed_null=1"))?;
        let host = found.first().with_context(|| format!("the API shows no host {name}"))?;
        Ok(host["id"].as_str().context("a host has no id")?.to_owned())
    }

    /// Registers the image that the tests' machines boot from.
    ///
    /// # Errors
    /// When controld refuses.
    pub fn register_machine_image(&self) -> Result<()> {
        let url = format!("file://{}", images::machine()?.display());
        let image = json!({"uuid": MACHINE_IMAGE, "name": MACHINE_IMAGE, "url": url});
        self.api().create("images", &image)?;
        Ok(())
    }

    /// The last word of a test that passed. A cloud that goes without it tells what happened and
    /// keeps the daemons' logs.
    ///
    /// # Errors
    /// Never; it fits the end of a test.
    pub fn passed(mut self) -> Result<()> {
        self.passed = true;
        Ok(())
    }

    /// Where the daemons' logs are.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if !self.passed {
            self.tell_what_happened();
        }
        self.hosts.clear();
        self.controld = None;
        for node in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            // Logs stay for whoever looks for the reason of a failure.
            if self.passed || node.file_name() != "logs" {
                let _ = fs::remove_dir_all(node.path());
            }
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

impl Cloud {
    fn tell_what_happened(&self) {
        eprintln!("the daemons' logs are in {}", self.logs.display());
        let logs = fs::read_dir(&self.logs).into_iter().flatten().flatten().map(|log| log.path());
        for log in logs.filter(|log| !log.ends_with("dockerd.log")) {
            let end = tail(&log, 25);
            if !end.is_empty() {
                eprintln!("---- the end of {}\n{end}", log.display());
            }
        }
    }
}
