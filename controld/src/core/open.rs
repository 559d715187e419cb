//! Opening a cloud's data and bringing its parts to life.

use super::{Caller, Core, Inner, Refusal, Settings};
use crate::board::Board;
use crate::ca::{Authority, AuthorityError};
use crate::context::Context;
use crate::housekeeping;
use crate::intent::seed;
use crate::reports;
use crate::shared::Shared;
use crate::store::{Store, StoreError};
use crate::writer::Writer;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a cloud's data cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or read.
    #[error("cannot use the data directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store is not usable.
    #[error("cannot open the store {path}")]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The CA is not usable.
    #[error("cannot use the cloud's certificate authority")]
    Authority(#[source] AuthorityError),
    /// What a new cloud comes with could not be written.
    #[error("cannot seed the store")]
    Seed(#[source] Refusal),
}

impl Core {
    /// Opens the cloud in `data`, making and seeding it at first, and starts the writer and the
    /// housekeeping.
    ///
    /// # Errors
    /// When the directory, the store or the CA cannot be used.
    pub async fn open(data: &Path, settings: Settings) -> Result<Self, OpenError> {
        let (core, keep) = Self::open_idle(data, settings).await?;
        housekeeping::start(core.clone());
        drop(keep);
        Ok(core)
    }

    /// The same without housekeeping; the task handed back ends when the last handle is gone and the
    /// store is closed.
    ///
    /// # Errors
    /// The same.
    pub async fn open_idle(
        data: &Path,
        settings: Settings,
    ) -> Result<(Self, tokio::task::JoinHandle<()>), OpenError> {
        let reports = data.join("reports");
        for path in [data, reports.as_path()] {
            directory(path)
                .map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
        }
        let authority = Authority::open(data).map_err(OpenError::Authority)?;
        let path = data.join("store.sqlite");
        let failed = |source| OpenError::Store { path: path.clone(), source };
        let mut store = Store::open(&path).await.map_err(failed)?;
        let head = store.head().await.map_err(failed)?;
        let published = store.load().await.map_err(failed)?;
        let ahead = published.twin();
        let board = Board::new(head.store, settings.overlay, &published, head.generation);
        let shared = Arc::new(Shared::new(published, board));
        reports::recall(&shared, &reports);
        let context = Context::new(settings, shared.clone());
        let (writer, task) = Writer::start(store, ahead, shared.clone());
        let seeding = context.clone();
        let admin =
            writer.run(move |draft| seed::seed(draft, &seeding)).await.map_err(OpenError::Seed)?;
        let boot = uuid::Uuid::new_v4().to_string();
        let cloud = head.cloud;
        let inner = Inner { shared, writer, context, authority, cloud, boot, admin, reports };
        Ok((Self(Arc::new(inner)), task))
    }

    /// The caller that `--open` makes of everybody.
    #[must_use]
    pub fn admin(&self) -> Caller {
        Caller { account: self.0.admin, admin: true, trusted: BTreeSet::new() }
    }

    /// The caller that an account is.
    #[must_use]
    pub fn caller(&self, account: i64) -> Option<Caller> {
        let state = self.0.shared.read();
        let row = state.world.row(account).filter(|row| row.removed.is_none())?;
        let body = row.account_body()?;
        Some(Caller { account, admin: body.kind == "admin", trusted: body.trusted.clone() })
    }

    /// The cloud's certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.0.authority
    }

    /// The id of this run of controld.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.0.boot
    }
}

/// Makes a directory that only its owner may enter.
fn directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
