//! Lets transits through the forwarding firewall of a container engine that drops by default.
//!
//! An accept in our own table cannot override a drop in another. `DOCKER-USER` is the documented
//! place for other people's rules: two rules there, marked by a comment, nothing else. Only if the
//! chain exists, and only through the variant of iptables (nft or legacy) that has it.

use crate::names::TRANSIT_PREFIX;
use crate::netns;
use std::fs::File;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;

const CHAIN: &str = "DOCKER-USER";
const COMMENT: &str = "stampede";
const DEADLINE: Duration = Duration::from_secs(10);

/// iptables could not be run or refused.
#[derive(Debug, thiserror::Error)]
pub enum ForwardAcceptError {
    /// It could not be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("{program} did not answer within {} s", DEADLINE.as_secs())]
    Late {
        /// The program.
        program: &'static str,
    },
    /// It refused.
    #[error("{program} cannot change chain {CHAIN}: {message}")]
    Refused {
        /// The program.
        program: &'static str,
        /// What it said.
        message: String,
    },
}

/// Keeps our two rules in place.
#[derive(Debug, Default)]
pub struct ForwardAccept {
    /// The rule generation at which the nft variant was last seen to be as wanted, and what was
    /// wanted.
    seen: Option<(u32, bool)>,
}

impl ForwardAccept {
    /// Makes the two rules be there, or be gone; returns the number of changes. `generation` tells
    /// the present generation of the namespace's nft rules.
    ///
    /// # Errors
    /// When iptables cannot be run or refuses.
    pub async fn reconcile(
        &mut self,
        namespace: &File,
        wanted: bool,
        generation: impl Fn() -> Option<u32>,
    ) -> Result<u64, ForwardAcceptError> {
        let mut changes = 0;
        if legacy_filter_in_use(namespace) {
            changes += ensure(namespace, "iptables-legacy", wanted).await?;
        }
        let before = generation();
        if before.is_none() || self.seen != before.map(|number| (number, wanted)) {
            let changed = ensure(namespace, "iptables-nft", wanted).await?;
            let after = if changed == 0 { before } else { generation() };
            self.seen = after.map(|number| (number, wanted));
            changes += changed;
        }
        Ok(changes)
    }
}

/// Asking the legacy variant makes its table exist, so it is asked only where it does already.
fn legacy_filter_in_use(namespace: &File) -> bool {
    let names = netns::within(namespace, || {
        std::fs::read_to_string("/proc/thread-self/net/ip_tables_names")
    });
    matches!(names, Ok(Ok(names)) if names.lines().any(|name| name == "filter"))
}

async fn ensure(
    namespace: &File,
    program: &'static str,
    wanted: bool,
) -> Result<u64, ForwardAcceptError> {
    let Some(listing) = run(namespace, program, &["-S", CHAIN]).await? else { return Ok(0) };
    if !listing.status.success() {
        // There is no such chain: there is no such engine, or it drops nothing.
        return Ok(0);
    }
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let device = format!("{TRANSIT_PREFIX}+");
    let mut changes = 0;
    for direction in ["-i", "-o"] {
        let rule = [direction, &device, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
        let line = format!("-A {CHAIN} {}", rule.join(" "));
        let present = listing.lines().filter(|found| *found == line).count();
        let (verb, times) = match (wanted, present) {
            (true, 0) => ("-I", 1),
            (true, _) => ("-D", present - 1),
            (false, _) => ("-D", present),
        };
        for _ in 0..times {
            let arguments: Vec<&str> = [verb, CHAIN].iter().chain(&rule).copied().collect();
            let output = run(namespace, program, &arguments).await?;
            if let Some(output) = output.filter(|output| !output.status.success()) {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(ForwardAcceptError::Refused { program, message });
            }
            changes += 1;
        }
    }
    Ok(changes)
}

/// Runs one variant of iptables; nothing when it is not installed.
async fn run(
    namespace: &File,
    program: &'static str,
    arguments: &[&str],
) -> Result<Option<Output>, ForwardAcceptError> {
    let failed = |source| ForwardAcceptError::Run { program, source };
    let runtime = tokio::runtime::Handle::current();
    let child = netns::within(namespace, || {
        let _entered = runtime.enter();
        Command::new(program)
            .arg("-w")
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    })
    .map_err(failed)?;
    let child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match tokio::time::timeout(DEADLINE, child.wait_with_output()).await {
        Ok(output) => output.map(Some).map_err(failed),
        Err(_) => Err(ForwardAcceptError::Late { program }),
    }
}
