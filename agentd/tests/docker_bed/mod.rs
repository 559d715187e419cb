//! A host for Docker tests: a network namespace, and in it a dockerd of its own with private
//! mounts, processes and plugin folder. All of it ends with the value, also after a panic.
//!
//! Needs root; without it the tests fail, they never skip.

#![allow(dead_code, reason = "each test file uses a part")]

use agentd::containers::attach::{AttachError, Attacher};
use agentd::containers::journal::{Place, Port};
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How dockerd treats the host's packet filter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Firewall {
    /// As a stock installation does it.
    Default,
    /// Hands off; starts faster.
    Off,
}

/// A host with a running dockerd.
pub struct Bed {
    folder: tempfile::TempDir,
    firewall: Firewall,
    dockerd: Option<Child>,
    cgroup: String,
}

impl Bed {
    /// Makes the namespaces, starts dockerd, imports the image `bb:1`.
    pub fn new(firewall: Firewall) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "Docker tests need root");
        let folder = tempfile::Builder::new().prefix("stampede-docker-").tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().into_owned();
        let mut bed = Self { folder, firewall, dockerd: None, cgroup: name };
        netlib::netns::create(&bed.netns()).unwrap();
        bed.run("ip", &["link", "set", "lo", "up"]);
        std::fs::create_dir(bed.plugins()).unwrap();
        bed.start_dockerd();
        bed.import_image();
        bed
    }

    /// The file of the host's network namespace.
    pub fn netns(&self) -> PathBuf {
        self.folder.path().join("netns")
    }

    /// The folder where this dockerd looks for plugins.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// Docker's socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    /// A folder for agentd's own files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("agentd")
    }

    /// Starts dockerd and waits until it answers.
    pub fn start_dockerd(&mut self) {
        let folder = self.folder.path();
        let path = |name: &str| folder.join(name).display().to_string();
        // A process namespace of its own: when its first process dies, so do all containers and
        // their shims. A /run of its own: plugins are looked up in /run/docker/plugins.
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/docker/plugins && \
                      mount --bind \"$0\" /run/docker/plugins && exec dockerd \"$@\"";
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.netns().display()));
        command.args(["unshare", "--mount", "--propagation", "private", "--pid", "--fork"]);
        command.args(["--kill-child", "--mount-proc", "sh", "-c", script]).arg(self.plugins());
        command.args(["--host", &format!("unix://{}", self.socket().display())]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec")]);
        command.args(["--pidfile", &path("docker.pid"), "--cgroup-parent", &self.cgroup]);
        if self.firewall == Firewall::Off {
            command.args(["--iptables=false", "--ip-masq=false", "--bridge=none"]);
        }
        let mut log = std::fs::OpenOptions::new();
        let log = log.create(true).append(true).open(folder.join("dockerd.log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        self.dockerd = Some(command.process_group(0).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.docker_status(&["version"]) {
            let child = self.dockerd.as_mut().unwrap();
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "dockerd:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Kills dockerd and every container at once, as a power cut does.
    pub fn kill_dockerd(&mut self) {
        if let Some(mut child) = self.dockerd.take() {
            // The first process of the process namespace: its parent returns only when all of them
            // are gone.
            let id = child.id();
            let first = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            match first.unwrap_or_default().trim().parse() {
                Ok(first) => {
                    let first = nix::unistd::Pid::from_raw(first);
                    let _ = nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL);
                }
                Err(_) => child.kill().unwrap(),
            }
            child.wait().unwrap();
        }
        // What lies in /run on a real host.
        let _ = std::fs::remove_file(self.folder.path().join("docker.pid"));
        let _ = std::fs::remove_dir_all(self.folder.path().join("exec"));
    }

    fn import_image(&self) {
        let root = self.folder.path().join("image");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["sh", "ip", "ping", "sleep", "cat", "nslookup", "wget", "nc", "httpd"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let tar = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output().unwrap();
        assert!(tar.status.success());
        let mut import = self.docker_command(&["import", "-", "bb:1"]);
        let mut import = import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(&tar.stdout).unwrap();
        assert!(import.wait().unwrap().success());
    }

    fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command
    }

    fn docker_status(&self, arguments: &[&str]) -> bool {
        let output = self.docker_command(arguments).output().unwrap();
        output.status.success()
    }

    /// Runs a Docker command that must succeed; returns what it printed, trimmed.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self.docker_command(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {error}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim().into()
    }

    /// Starts a Docker command and returns at once.
    pub fn docker_started(&self, arguments: &[&str]) -> Child {
        self.docker_command(arguments).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Runs a Docker command that must fail; returns its complaint.
    pub fn docker_fails(&self, arguments: &[&str]) -> String {
        let output = self.docker_command(arguments).output().unwrap();
        assert!(!output.status.success(), "docker {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into()
    }

    /// What `docker inspect` says, by Go template.
    pub fn inspect(&self, object: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, object])
    }

    /// Runs a command in the host's network namespace; returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        run_in(&self.netns(), program, arguments)
    }

    /// The end of dockerd's log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("dockerd.log"));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.kill_dockerd();
        if let Err(error) = netlib::netns::remove(&self.netns()) {
            eprintln!("{error}");
        }
        remove_cgroups(Path::new("/sys/fs/cgroup"), &self.cgroup);
    }
}

/// Removes the cgroups named after the bed, children first, below every controller.
fn remove_cgroups(root: &Path, name: &str) {
    let mut parents = vec![root.to_path_buf()];
    parents.extend(std::fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()));
    for cgroup in parents.iter().map(|parent| parent.join(name)).filter(|path| path.is_dir()) {
        let _ = Command::new("find").arg(cgroup).args(["-depth", "-type", "d", "-delete"]).output();
    }
}

fn run_in(netns: &Path, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display())).arg(program).args(arguments);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into()
}

/// Makes ports with `ip` on a plain bridge in a namespace of its own, so that the host's packet
/// filter has no say; and keeps count.
pub struct Bridge {
    host: PathBuf,
    netns: PathBuf,
    ports: Mutex<BTreeSet<Place>>,
}

impl Bridge {
    /// Makes the bridge `br0` with the gateway's address.
    pub fn new(bed: &Bed) -> Self {
        let netns = bed.folder.path().join("network");
        netlib::netns::create(&netns).unwrap();
        run_in(&netns, "ip", &["link", "add", "br0", "type", "bridge"]);
        run_in(&netns, "ip", &["addr", "add", "10.42.0.1/16", "dev", "br0"]);
        run_in(&netns, "ip", &["link", "set", "br0", "up"]);
        Self { host: bed.netns(), netns, ports: Mutex::default() }
    }

    /// The addresses that have a port now.
    pub fn ports(&self) -> BTreeSet<Place> {
        self.ports.lock().unwrap().clone()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if let Err(error) = netlib::netns::remove(&self.netns) {
            eprintln!("{error}");
        }
    }
}

fn device(place: Place) -> String {
    let [_, _, c, d] = place.ip.octets();
    format!("p{}-{c}-{d}", place.vni % 1000)
}

#[async_trait::async_trait]
impl Attacher for Bridge {
    async fn ready(&self, _: Place) -> Result<(), AttachError> {
        Ok(())
    }

    async fn attach(&self, port: Port, mtu: u32) -> Result<String, AttachError> {
        self.detach(port.place).await?;
        let (outer, inner) = (device(port.place), format!("{}i", device(port.place)));
        let (mac, mtu) = (port.mac.to_string(), mtu.to_string());
        let network = self.netns.display().to_string();
        let add = ["link", "add", &outer, "mtu", &mtu, "netns", &network, "type", "veth"];
        let peer = ["peer", "name", &inner, "address", &mac, "mtu", &mtu];
        run_in(&self.host, "ip", &[&add[..], &peer[..]].concat());
        run_in(&self.netns, "ip", &["link", "set", &outer, "master", "br0", "up"]);
        self.ports.lock().unwrap().insert(port.place);
        Ok(inner)
    }

    async fn detach(&self, place: Place) -> Result<bool, AttachError> {
        let there = self.ports.lock().unwrap().remove(&place);
        if there {
            run_in(&self.netns, "ip", &["link", "del", &device(place)]);
        }
        Ok(there)
    }
}
