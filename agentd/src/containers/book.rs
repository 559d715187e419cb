//! The journal, shared: changed on a thread that may block, read without waiting.

use super::journal::{Journal, Record, State};
use crate::durable::DurableError;
use arc_swap::ArcSwap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A shared journal.
#[derive(Clone, Debug)]
pub struct Book {
    journal: Arc<Mutex<Journal>>,
    state: Arc<ArcSwap<State>>,
}

/// A decision that could not be made durable.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The journal could not be written.
    #[error("cannot note what Docker was given")]
    Write(#[from] DurableError),
    /// The thread that writes ended early.
    #[error("cannot finish noting what Docker was given")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl Book {
    /// Opens the journal at `path`.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        let journal = Journal::open(path)?;
        let state = Arc::new(ArcSwap::new(journal.state().clone()));
        Ok(Self { journal: Arc::new(Mutex::new(journal)), state })
    }

    /// What is durable now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Decides on the newest state, with nobody deciding at the same time, and makes the decision's
    /// records durable. Returns what was decided.
    ///
    /// # Errors
    /// The decision's own error, or when it could not be made durable.
    pub async fn decide<T, E>(
        &self,
        decide: impl FnOnce(&State) -> Result<(T, Vec<Record>), E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<BookError> + Send + 'static,
    {
        let book = self.clone();
        let work = move || {
            let mut journal = book.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let (decision, records) = decide(journal.state())?;
            if !records.is_empty() {
                journal.append(&records).map_err(BookError::Write)?;
                book.state.store(journal.state().clone());
            }
            Ok(decision)
        };
        tokio::task::spawn_blocking(work).await.map_err(BookError::Interrupted)?
    }

    /// Makes records durable.
    ///
    /// # Errors
    /// When they could not be written.
    pub async fn note(&self, records: Vec<Record>) -> Result<(), BookError> {
        self.decide(move |_| Ok(((), records))).await
    }
}
