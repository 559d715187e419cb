//! Has the `nft` program work inside a namespace, with a deadline.
//!
//! Listings are asked for through the `nftables` crate. What is applied, our rules' text or a batch
//! of the crate's objects, is fed to nft here: the crate takes no text, and when it applies it lets
//! go what nft says about a refusal.

use crate::netns;
use nftables::helper::{self, DEFAULT_NFT, NftablesError};
use nftables::schema::Nftables;
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// How long one call of nft may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How nft, which is not translated, says that there is no such table.
const ABSENT: &str = "No such file or directory";

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
    /// What it lists cannot be read, or what it is to do cannot be written.
    #[error("cannot speak nft's JSON")]
    Json(#[from] serde_json::Error),
}

/// Applies a text: one kernel transaction, all of it or nothing.
///
/// # Errors
/// When nft cannot be run, takes too long or refuses the text.
pub async fn apply(namespace: &File, text: &str) -> Result<(), NftError> {
    feed(namespace, &["-f", "-"], text).await
}

/// Applies a batch: one kernel transaction, all of it or nothing.
///
/// # Errors
/// When nft cannot be run, takes too long or refuses the batch.
pub async fn apply_batch(namespace: &File, batch: &Nftables<'_>) -> Result<(), NftError> {
    feed(namespace, &["-j", "-f", "-"], &serde_json::to_string(batch)?).await
}

/// Lists something of ours as JSON; nothing when it does not exist.
///
/// # Errors
/// When nft cannot be run, takes too long or refuses.
pub async fn list(namespace: &File, what: &[&str]) -> Result<Option<String>, NftError> {
    let action = "list our rules";
    let failed = |source| NftError::Run { action, source };
    let namespace = namespace.try_clone().map_err(failed)?;
    let what: Vec<String> = ["list"].iter().chain(what).map(ToString::to_string).collect();
    // A child is born in the namespace of the thread that starts it.
    let work =
        move || netns::within(&namespace, || helper::get_current_ruleset_raw(DEFAULT_NFT, &what));
    let listing = tokio::time::timeout(DEADLINE, tokio::task::spawn_blocking(work))
        .await
        .map_err(|_| NftError::Late { action })?
        .map_err(|ended| failed(ended.into()))?
        .map_err(failed)?;
    match listing {
        Ok(listing) => Ok(Some(listing)),
        Err(NftablesError::NftFailed { stderr, .. }) if stderr.contains(ABSENT) => Ok(None),
        Err(NftablesError::NftFailed { stderr, .. }) => Err(refused(action, &stderr)),
        Err(NftablesError::NftExecution { inner, .. }) => Err(failed(inner)),
        Err(NftablesError::NftInvalidJson(error)) => Err(error.into()),
        Err(error @ NftablesError::NftOutputEncoding { .. }) => {
            Err(failed(io::Error::new(io::ErrorKind::InvalidData, error)))
        }
    }
}

fn refused(action: &'static str, said: &str) -> NftError {
    NftError::Refused { action, message: said.trim().chars().take(2000).collect() }
}

async fn feed(namespace: &File, arguments: &[&str], input: &str) -> Result<(), NftError> {
    let action = "apply our rules";
    let failed = |source| NftError::Run { action, source };
    let mut child = start(namespace, arguments).map_err(failed)?;
    let work = async {
        if let Some(mut pipe) = child.stdin.take() {
            // A refusal may come before all is read; what nft says then is the better error.
            if let Err(error) = pipe.write_all(input.as_bytes()).await {
                tracing::debug!(%error, "nft did not read its whole script");
            }
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(DEADLINE, work)
        .await
        .map_err(|_| NftError::Late { action })?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(refused(action, &String::from_utf8_lossy(&output.stderr)))
}

/// A child is born in the namespace of the thread that starts it.
fn start(namespace: &File, arguments: &[&str]) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    netns::within(namespace, || {
        let _entered = runtime.enter();
        Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    })?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::element;
    use nftables::batch::Batch;
    use nftables::schema::{Element, NfListObject, Table};
    use nftables::types::NfFamily;

    /// Needs root.
    fn namespace() -> File {
        let fresh = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            File::open(netns::CURRENT).unwrap()
        };
        std::thread::spawn(fresh).join().unwrap()
    }

    #[tokio::test]
    async fn who_is_refused_hears_why() {
        let namespace = namespace();
        let said = |refused: Result<(), NftError>| match refused {
            Err(NftError::Refused { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        let text = said(apply(&namespace, "nonsense").await);
        assert!(text.contains("syntax error"), "{text}");
        let mut batch = Batch::new();
        batch.add(NfListObject::Element(Element {
            family: NfFamily::INet,
            table: "missing".into(),
            name: "ports".into(),
            elem: vec![element::expression("tcp . 80")].into(),
        }));
        let batch = said(apply_batch(&namespace, &batch.to_nftables()).await);
        assert!(batch.contains("No such file or directory"), "{batch}");
        let listing = list(&namespace, &["nonsense"]).await;
        let listing = said(listing.map(drop));
        assert!(listing.contains("syntax error"), "{listing}");
    }

    #[tokio::test]
    async fn what_is_not_there_is_no_error() {
        let namespace = namespace();
        let what = ["table", "inet", "ours"];
        assert!(list(&namespace, &what).await.unwrap().is_none());
        let mut batch = Batch::new();
        batch.add(NfListObject::Table(Table {
            family: NfFamily::INet,
            name: "ours".into(),
            handle: None,
        }));
        apply_batch(&namespace, &batch.to_nftables()).await.unwrap();
        assert!(list(&namespace, &what).await.unwrap().unwrap().contains("ours"));
    }
}
