//! What an operator on this machine can do with the cloud's data, whether the daemon runs or not.
//!
//! The running daemon is asked over a socket in the data directory, which only its owner may enter;
//! otherwise the store is opened directly. A lock makes sure that one process has it open.

mod socket;

pub use socket::listen;

use crate::clock;
use crate::core::{Core, Fields, OpenError, Refusal, Settings};
use crate::model::Body;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Why the operator's wish is not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The data directory is not usable.
    #[error("cannot use {path}")]
    File {
        /// The file or socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the store open and does not answer.
    #[error("another controld uses {0} and does not answer on its socket")]
    Busy(PathBuf),
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The cloud refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The daemon answers something else than this program understands.
    #[error("cannot understand the daemon's answer")]
    Answer(#[source] serde_json::Error),
    /// The daemon refuses.
    #[error("{0}")]
    Daemon(String),
}

/// What can be wished.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wish {
    /// A new registration token.
    CreateToken {
        /// How many hosts it may enrol; 0 means any number.
        uses: u32,
        /// For how many seconds.
        valid: u64,
    },
    /// All registration tokens.
    ListTokens,
    /// A registration token back.
    RevokeToken {
        /// Its id.
        id: String,
    },
}

/// Takes the lock of a data directory, for as long as the file lives; none when another process has
/// it.
///
/// # Errors
/// When the lock file cannot be made.
pub fn lock(data: &Path) -> Result<Option<File>, OperatorError> {
    let path = data.join("lock");
    let failed = |source| OperatorError::File { path: path.clone(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Does a wish through the daemon, or without it by `settings`, which a new cloud is made by.
/// Returns what is to be printed.
///
/// # Errors
/// When neither works, or the cloud refuses.
pub async fn wish(data: &Path, settings: Settings, wish: Wish) -> Result<String, OperatorError> {
    if let Some(answer) = socket::ask(data, &wish).await? {
        return Ok(answer);
    }
    let Some(lock) = lock(data)? else {
        // It may have begun to listen just now.
        return match socket::ask(data, &wish).await? {
            Some(answer) => Ok(answer),
            None => Err(OperatorError::Busy(data.to_owned())),
        };
    };
    let (core, closed) = Core::open_idle(data, settings).await?;
    let answer = fulfil(&core, wish).await;
    drop(core);
    // The store is closed before another process may open it.
    let _ = closed.await;
    drop(lock);
    Ok(answer?)
}

/// Does a wish.
///
/// # Errors
/// When the cloud refuses.
pub async fn fulfil(core: &Core, wish: Wish) -> Result<String, Refusal> {
    match wish {
        Wish::CreateToken { uses, valid } => {
            let valid = std::time::Duration::from_secs(valid);
            let expires = clock::now().saturating_add(clock::millis(valid));
            let uses = (uses > 0).then_some(uses);
            let admin = core.admin();
            let (id, token) = core.create_token(&admin, Fields::new(), Some(expires), uses).await?;
            let hosts = uses.map_or("any number of hosts".into(), |uses| match uses {
                1 => "one host".to_owned(),
                uses => format!("{uses} hosts"),
            });
            let until = clock::text(expires);
            tracing::debug!(id, "token created");
            Ok(format!("registration token for {hosts}, until {until}:\n{token}"))
        }
        Wish::ListTokens => Ok(list(core)),
        Wish::RevokeToken { id } => {
            let admin = core.admin();
            core.act(&admin, "registrationToken", &id, "deactivate", Fields::new()).await?;
            Ok(format!("{id} is taken back"))
        }
    }
}

fn list(core: &Core) -> String {
    let state = core.0.shared.read();
    let now = clock::now();
    let mut text = format!("{:<10} {:<9} {:<8} EXPIRES", "ID", "STATE", "USED");
    for row in state.world.of_kind("registrationToken").filter(|row| row.removed.is_none()) {
        let Body::RegistrationToken(token) = &row.body else { continue };
        let condition = if token.revoked {
            "revoked"
        } else if token.expires.is_some_and(|expires| expires <= now) {
            "expired"
        } else if token.uses.is_some_and(|uses| token.used >= uses) {
            "used up"
        } else {
            "good"
        };
        let uses = token.uses.map_or("∞".to_owned(), |uses| uses.to_string());
        let used = format!("{}/{uses}", token.used);
        let expires = token.expires.map_or("never".to_owned(), clock::text);
        text.push_str(&format!("\n{:<10} {condition:<9} {used:<8} {expires}", row.public_id()));
    }
    text
}
