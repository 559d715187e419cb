//! Runs the `nft` program inside a namespace, with a deadline.

use crate::netns;
use std::fs::File;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// How long one call of nft may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What went wrong with nft.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It could not be started, fed or waited for.
    #[error("cannot run nft to {action}")]
    Run {
        /// What it was to do.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long and was ended.
    #[error("nft did not {action} within {} s", DEADLINE.as_secs())]
    Late {
        /// What it was to do.
        action: &'static str,
    },
    /// It refused.
    #[error("nft cannot {action}: {message}")]
    Refused {
        /// What it was to do.
        action: &'static str,
        /// What it said.
        message: String,
    },
    /// Its answer is not what we understand.
    #[error("cannot read what nft lists")]
    Listing(#[from] serde_json::Error),
}

/// Applies a script: one kernel transaction, all of it or nothing.
///
/// # Errors
/// When nft cannot be run, takes too long or refuses the script.
pub async fn apply(namespace: &File, script: &str) -> Result<(), NftError> {
    let action = "apply our rules";
    let output = run(namespace, action, &["-f", "-"], script).await?;
    if output.status.success() { Ok(()) } else { Err(refused(action, &output)) }
}

/// Lists something of ours as JSON; nothing when it does not exist.
///
/// # Errors
/// When nft cannot be run, takes too long or refuses.
pub async fn list(namespace: &File, what: &[&str]) -> Result<Option<String>, NftError> {
    let action = "list our rules";
    let arguments: Vec<&str> = ["-j", "list"].iter().chain(what).copied().collect();
    let output = run(namespace, action, &arguments, "").await?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let absent = String::from_utf8_lossy(&output.stderr).contains("No such file or directory");
    if absent { Ok(None) } else { Err(refused(action, &output)) }
}

fn refused(action: &'static str, output: &Output) -> NftError {
    let message = String::from_utf8_lossy(&output.stderr).trim().chars().take(2000).collect();
    NftError::Refused { action, message }
}

async fn run(
    namespace: &File,
    action: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<Output, NftError> {
    let failed = |source| NftError::Run { action, source };
    let child = start(namespace, arguments).map_err(failed)?;
    let work = async {
        let mut child = child;
        if let Some(mut pipe) = child.stdin.take() {
            // A refusal may come before all is read; what nft says then is the better error.
            if let Err(error) = pipe.write_all(input.as_bytes()).await {
                tracing::debug!(%error, "nft did not read its whole script");
            }
        }
        child.wait_with_output().await
    };
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(output) => output.map_err(failed),
        Err(_) => Err(NftError::Late { action }),
    }
}

/// A child is born in the namespace of the thread that starts it.
fn start(namespace: &File, arguments: &[&str]) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    netns::within(namespace, || {
        let _entered = runtime.enter();
        Command::new("nft")
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    })?
}
