//! The journal, shared: changed on a thread that may block, read without waiting.

use super::journal::{Journal, Record, State};
use crate::durable::DurableError;
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// How many ended endpoints are remembered: more than Docker ends while it is listed once.
const REMEMBERED: usize = 1024;

/// A shared journal.
#[derive(Clone, Debug)]
pub struct Book {
    journal: Arc<Mutex<Journal>>,
    state: Arc<ArcSwap<State>>,
    ended: Arc<Mutex<VecDeque<String>>>,
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
        let ended = Arc::default();
        Ok(Self { journal: Arc::new(Mutex::new(journal)), state, ended })
    }

    /// Whether Docker ended this endpoint during this run of agentd. A list that was begun before
    /// shows it all the same.
    #[must_use]
    pub fn has_ended(&self, endpoint: &str) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.iter().any(|id| id == endpoint)
    }

    fn remember_ended(&self, records: &[Record]) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if let Record::EndpointGone { id } = record {
                ended.push_back(id.clone());
            }
        }
        let surplus = ended.len().saturating_sub(REMEMBERED);
        ended.drain(..surplus);
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
                book.remember_ended(&records);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ended_endpoints_are_remembered_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&folder.path().join("journal")).unwrap();
        let gone = |number: usize| Record::EndpointGone { id: format!("e{number}") };
        book.note((0..REMEMBERED).map(gone).collect()).await.unwrap();
        assert!(book.has_ended("e0") && !book.has_ended("e"));
        book.note(vec![gone(REMEMBERED)]).await.unwrap();
        assert!(!book.has_ended("e0") && book.has_ended("e1"));
    }
}
