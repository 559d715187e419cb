//! `make run` on a host without systemd, Docker or libvirt running: up, stopped, up again, gone.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use tests::node::Node;
use tests::programs;
use tests::traces::{differences, look};

#[test]
fn a_cloud_comes_by_one_command_and_goes_by_another() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start("newcomer", &folder.path().join("node"), folder.path())?;
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("there is no project")?;
    let programs = programs::find("agentd")?.parent().context("no folder")?.to_path_buf();
    programs::find("controld")?;
    let script = |name: &str| {
        let path = project.join("scripts").join(name);
        node.shell(&format!("PREBUILT={} {} 2>&1", programs.display(), path.display()))
    };
    let before = look(&node)?;

    let transcript = script("run")?;
    for words in [
        "dhcp-mtu=1400",
        "script=web answers: web",
        "script=tour complete",
        "The cloud is up; it stays up",
    ] {
        ensure!(transcript.contains(words), "{words:?} is missing in:\n{transcript}");
    }
    let running = workloads(&node)?;
    script("stop")?;
    ensure!(workloads(&node)? == running, "stopping the daemons touched the workloads");
    let again = script("run")?;
    ensure!(again.contains("The cloud is up; it stays up"), "the second run says:\n{again}");
    ensure!(workloads(&node)? == running, "a second run touched the workloads");

    script("clean-host")?;
    let left = differences(&before, &look(&node)?, &[]);
    ensure!(left.is_empty(), "clean-host left:\n{left}");
    Ok(())
}

/// The processes of the container and the machine.
fn workloads(node: &Node) -> Result<String> {
    let found = node.shell("pgrep -a -f '^httpd -f|^/usr/bin/qemu-system.*guest=' | cut -c1-60")?;
    ensure!(found.lines().count() == 2, "there are not two workloads: {found}");
    Ok(found)
}
