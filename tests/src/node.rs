//! A node: namespaces of its own for network, mounts, processes, host name and messages.
//!
//! Its first process is a small script (`node.sh`) that reads from a pipe held by the test; the end
//! of the pipe is the end of the node and of everything in it.

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A machine made of namespaces.
pub struct Node {
    name: String,
    folder: PathBuf,
    holder: Child,
    first: Pid,
}

impl Node {
    /// Makes a node that keeps what it must in `folder`, which it creates, and logs in `logs`.
    ///
    /// # Errors
    /// Without root, or when the kernel refuses a namespace or a mount.
    pub fn start(name: &str, folder: &Path, logs: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let log = File::create(logs.join(format!("{name}-node.log")))?;
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"])
            .args(["--propagation", "private", "--", "bash", "-c", include_str!("node.sh")])
            .arg("node.sh")
            .arg(name)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot run unshare")?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut said)?;
        }
        let first = said.strip_prefix("ready ").and_then(|pid| pid.trim().parse().ok());
        let Some(first) = first else {
            // Its input is closed by the drop of `holder`'s pipe, which ends it.
            drop(holder.stdin.take());
            let status = holder.wait()?;
            let log = fs::read_to_string(logs.join(format!("{name}-node.log")))?;
            anyhow::bail!("node {name} did not come up ({status}): {log}");
        };
        Ok(Self { name: name.into(), folder: folder.into(), holder, first: Pid::from_raw(first) })
    }

    /// The node's name, also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the node keeps what must be on a real file system.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The id of its first process, as seen from outside; `ip link … netns <pid>` takes it.
    #[must_use]
    pub fn first_process(&self) -> Pid {
        self.first
    }

    /// A command that runs inside the node.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first.to_string()])
            .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"])
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// A command that runs in the node's network alone, with this process' files and process ids.
    #[must_use]
    pub fn network_command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network_path().display())).arg("--").arg(program);
        command
    }

    /// Runs a command line inside the node and gives its standard output.
    ///
    /// # Errors
    /// When it cannot be run or ends with another status than 0; the error has all it wrote.
    pub fn run(&self, line: &[&str]) -> Result<String> {
        let (program, arguments) = line.split_first().context("there is no command to run")?;
        finish(self.command(program).args(arguments), &self.name)
    }

    /// Runs a line of shell inside the node and gives its standard output.
    ///
    /// # Errors
    /// See [`Node::run`].
    pub fn shell(&self, script: &str) -> Result<String> {
        self.run(&["bash", "-ec", script])
    }

    /// One echo request from the node's root namespace, answered within two seconds.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ping(&self, target: std::net::Ipv4Addr) -> Result<String> {
        self.run(&["busybox", "ping", "-c", "1", "-W", "2", &target.to_string()])
    }

    /// Runs a command line in the node's network alone and gives its standard output.
    ///
    /// # Errors
    /// See [`Node::run`].
    pub fn network(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let program = words.next().context("there is no command to run")?;
        finish(self.network_command(program).args(words), &self.name)
    }

    /// Runs `work` on a thread inside the node's network; sockets it opens stay there.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let network = File::open(self.network_path())?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || -> Result<T> {
                setns(&network, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn network_path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.first).into()
    }

    /// The control group below which this node's containers live.
    #[must_use]
    pub fn control_group(&self) -> String {
        format!("stampede-test-{}", self.first)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The end of the first process is the end of all, and is over when it can be waited for.
        let _ = kill(self.first, Signal::SIGKILL);
        let _ = self.holder.wait();
        remove_control_groups(&self.control_group());
    }
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// When it cannot be run or ends with another status than 0.
pub fn finish(command: &mut Command, place: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line: Vec<_> = command
        .get_args()
        .map(|word| word.to_string_lossy())
        .skip_while(|word| word != "--")
        .skip(1)
        .collect();
    ensure!(
        output.status.success(),
        "on {place}: {} ended with {}: {text}{}",
        line.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// Removes the folders that a container engine left in the control group trees (version 1 has one
/// tree per controller, version 2 a single one).
fn remove_control_groups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let trees = fs::read_dir(root).into_iter().flatten().flatten().map(|tree| tree.path());
    for tree in trees.chain([root.to_path_buf()]) {
        remove_group(&tree.join(name));
    }
}

fn remove_group(group: &Path) {
    if !group.is_dir() || group.is_symlink() {
        return;
    }
    for inner in fs::read_dir(group).into_iter().flatten().flatten() {
        remove_group(&inner.path());
    }
    let _ = fs::remove_dir(group);
}
