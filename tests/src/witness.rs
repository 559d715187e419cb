//! Independent witnesses of change on a host: the kernel's, Docker's and libvirt's own event streams.
//!
//! They see what agentd does whether or not agentd counts it.

use crate::host::Host;
use crate::patience::until;
use crate::process::Process;
use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Neighbours' states change by themselves; links, addresses, routes and rule sets do not.
const IN_EACH_NAMESPACE: &[(&str, &str)] = &[
    ("ip", "exec ip -t monitor link address route rule"),
    ("fdb", "exec bridge -t monitor fdb link"),
    ("nft", "exec nft monitor"),
];
const ON_THE_HOST: &[(&str, &str)] = &[
    ("docker", "exec docker events"),
    ("libvirt", "exec virsh -c qemu:///system event --all --loop"),
];

/// Event streams of one host, recording.
pub struct Witnesses {
    streams: Vec<Process>,
}

impl Witnesses {
    /// Starts to record on a host and in the namespaces of its networks.
    ///
    /// # Errors
    /// When a stream does not start.
    pub fn start(host: &Host, logs: &Path) -> Result<Self> {
        let list = "find /run/stampede/netns -type f 2>/dev/null || true";
        let networks = host.node.shell(list)?;
        let mut streams = Vec::new();
        let mut start = |name: &str, script: &str| -> Result<()> {
            let mut command = host.node.command("bash");
            command.args(["-c", script]);
            streams.push(Process::start(
                &host.node,
                &format!("witness-{name}"),
                logs,
                &mut command,
            )?);
            Ok(())
        };
        for (name, script) in ON_THE_HOST {
            start(name, script)?;
        }
        for (name, script) in IN_EACH_NAMESPACE {
            start(&format!("{name}-root"), script)?;
            for (number, namespace) in networks.lines().enumerate() {
                let inside = format!("exec nsenter --net={namespace} -- bash -c '{script}'");
                start(&format!("{name}-network{number}"), &inside)?;
            }
        }
        let witnesses = Self { streams };
        witnesses.prove_they_listen(host)?;
        Ok(witnesses)
    }

    /// A link made and removed by the test must be seen, else silence would mean nothing.
    fn prove_they_listen(&self, host: &Host) -> Result<()> {
        host.node.shell("ip link add proof type veth peer name proof2; ip link del proof")?;
        until("the witnesses", Duration::from_secs(10), || {
            let seen = self.testimony();
            ensure!(seen.contains("proof"), "they did not see a link come and go: {seen}");
            Ok(())
        })?;
        for stream in &self.streams {
            fs::File::options().write(true).open(stream.log())?.set_len(0)?;
        }
        Ok(())
    }

    /// Everything that was seen, one line per event, with the name of the witness.
    #[must_use]
    pub fn testimony(&self) -> String {
        let mut text = String::new();
        for stream in &self.streams {
            let name = stream.log().file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let seen = fs::read(stream.log()).unwrap_or_default();
            for line in String::from_utf8_lossy(&seen).lines() {
                text.push_str(&format!("{name}: {line}\n"));
            }
        }
        text
    }
}
