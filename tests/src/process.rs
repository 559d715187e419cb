//! A daemon inside a node: started with a log file, ended with or without asking.

use crate::node::Node;
use crate::patience::until;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

/// A running daemon.
pub struct Process {
    name: String,
    entered: Child,
    pid: Pid,
    log: PathBuf,
    asked: bool,
}

impl Process {
    /// Starts a command made by [`Node::command`]; its output goes to `<logs>/<node>-<name>.log`.
    ///
    /// # Errors
    /// When it cannot be started or ends at once.
    pub fn start(node: &Node, name: &str, logs: &Path, command: &mut Command) -> Result<Self> {
        let log = logs.join(format!("{}-{name}.log", node.name()));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut entered = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let pid = until("the start of a process", Duration::from_secs(5), || {
            if let Some(status) = entered.try_wait()? {
                return Ok(Err(status));
            }
            child_of(entered.id()).map(Ok)
        })?;
        match pid {
            Ok(pid) => Ok(Self { name: name.into(), entered, pid, log, asked: false }),
            Err(status) => {
                bail!("{name} ended at once with {status}: {}", fs::read_to_string(log)?)
            }
        }
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its id, as seen from outside its node.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// An error with the end of its log if it has ended.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.entered.try_wait()? else { return Ok(()) };
        bail!("{} ended with {status}: {}", self.name, tail(&self.log, 20))
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(self) -> Result<ExitStatus> {
        self.end(Signal::SIGTERM)
    }

    /// Ends it without asking and waits until it has.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(self) -> Result<ExitStatus> {
        self.end(Signal::SIGKILL)
    }

    fn end(mut self, signal: Signal) -> Result<ExitStatus> {
        self.asked = true;
        kill(self.pid, signal).with_context(|| format!("cannot end {}", self.name))?;
        Ok(self.entered.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        match self.entered.try_wait() {
            Ok(None) => {
                let _ = kill(self.pid, Signal::SIGKILL);
                let _ = self.entered.wait();
            }
            // Nobody asked it to.
            Ok(Some(status)) if !self.asked => {
                eprintln!("{} ended by itself with {status}", self.log.display());
            }
            _ => {}
        }
    }
}

/// The last lines of a log.
#[must_use]
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// `nsenter` forks to enter a process namespace; the daemon is its only child.
fn child_of(parent: u32) -> Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let pid = children.split_whitespace().next().context("there is no child yet")?;
    Ok(Pid::from_raw(pid.parse()?))
}
