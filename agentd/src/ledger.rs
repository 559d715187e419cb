//! The ledger of accepted snapshots: what lets a host boot without controld.
//!
//! A file holds one full truth and the deltas that followed, each record with its own checksum and
//! synced before anything acts on it. When the deltas outweigh the truth, a new file is begun; the
//! one before is kept. Loading takes the newest file whose first record is whole and stops at the
//! first record that is not: a torn tail was never acted upon. Records are the answers byte for
//! byte as received, and go through the same door as fresh ones ([`Snapshot::apply`]), so that an
//! older generation or another body at the same generation never gets in.

use crate::durable::{self, DurableError};
use api::snapshot::{Answer, ApplyError, Full, Snapshot};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Deltas may weigh this much, or twice the truth they belong to, before a new file is begun.
const SMALL: u64 = 64 * 1024;
/// How many files are kept.
const KEPT: usize = 2;

/// What went wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// An answer that is not what controld sends.
    #[error("cannot read the answer with a snapshot")]
    Read(#[source] serde_json::Error),
    /// An answer that does not follow on what is held.
    #[error("cannot take the snapshot")]
    Refused(#[source] ApplyError),
    /// It cannot be made durable.
    #[error("cannot keep the snapshot")]
    Keep(#[source] DurableError),
    /// The snapshot held cannot be written as one truth.
    #[error("cannot write the snapshot as JSON")]
    Write(#[source] serde_json::Error),
}

/// The ledger of one agent.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    held: Snapshot,
    current: Option<Current>,
    serial: u64,
}

/// The file that deltas are added to.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    truth_bytes: u64,
    delta_bytes: u64,
}

impl Ledger {
    /// Opens the ledger in `folder`, which is made when it is not there.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read; a damaged file is no error.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        durable::folder(folder).map_err(LedgerError::Keep)?;
        let files = files(folder).map_err(LedgerError::Keep)?;
        let serial = files.first().map_or(0, |(serial, _)| *serial);
        let mut held = Snapshot::default();
        for (_, path) in files {
            let bytes = durable::read(&path).map_err(LedgerError::Keep)?.unwrap_or_default();
            if let Some(snapshot) = replay(&bytes, &path) {
                held = snapshot;
                break;
            }
            tracing::warn!(file = %path.display(), "ledger file is damaged, trying the one before");
        }
        // The first change begins a new file: a tail that may be torn is never added to.
        Ok(Self { folder: folder.into(), held, current: None, serial })
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.held
    }

    /// Takes an answer of controld, as received. When this returns, it is durable. False when it
    /// brings nothing new.
    ///
    /// # Errors
    /// When it cannot be read, is refused, or cannot be made durable; what was held is still held.
    pub fn accept(&mut self, text: &str) -> Result<bool, LedgerError> {
        let answer = Answer::read(text).map_err(LedgerError::Read)?;
        let delta = matches!(answer, Answer::Delta(_));
        let next = self.held.apply(answer).map_err(LedgerError::Refused)?;
        if next.store == self.held.store
            && next.generation == self.held.generation
            && next.hash == self.held.hash
        {
            return Ok(false);
        }
        match self.current.as_mut().filter(|current| delta && current.has_room()) {
            Some(current) => current.append(text).map_err(LedgerError::Keep)?,
            None if delta => self.begin(&truth(&next)?)?,
            None => self.begin(text)?,
        }
        self.held = next;
        Ok(true)
    }

    /// Begins a new file with a full truth and drops all but the newest two.
    fn begin(&mut self, text: &str) -> Result<(), LedgerError> {
        self.serial += 1;
        let path = self.folder.join(format!("snapshot.{}", self.serial));
        let record = record(text);
        durable::write(&path, &record).map_err(LedgerError::Keep)?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(durable::failed("open", &path))
            .map_err(LedgerError::Keep)?;
        let truth_bytes = record.len() as u64;
        self.current = Some(Current { path, file, truth_bytes, delta_bytes: 0 });
        for (_, old) in files(&self.folder).map_err(LedgerError::Keep)?.into_iter().skip(KEPT) {
            durable::remove(&old).map_err(LedgerError::Keep)?;
        }
        Ok(())
    }
}

impl Current {
    fn has_room(&self) -> bool {
        self.delta_bytes < SMALL.max(2 * self.truth_bytes)
    }

    fn append(&mut self, text: &str) -> Result<(), DurableError> {
        let record = record(text);
        let end = self.truth_bytes + self.delta_bytes;
        let written = self.file.write_all(&record).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A part of a record must not stand before the next one.
            self.file.set_len(end).map_err(durable::failed("shorten", &self.path))?;
            return Err(durable::failed("add to", &self.path)(error));
        }
        self.delta_bytes += record.len() as u64;
        Ok(())
    }
}

/// A record: `<length> <BLAKE3 of the text>\n<text>\n`.
fn record(text: &str) -> Vec<u8> {
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!("{} {digest}\n{text}\n", text.len()).into_bytes()
}

/// The next whole record of `bytes` and what follows it.
fn next_record(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (header, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let (length, digest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let length: usize = length.parse().ok()?;
    let text = rest.get(..length)?;
    let whole = blake3::hash(text).to_hex().as_str() == digest;
    let rest = rest.get(length..)?.strip_prefix(b"\n")?;
    whole.then_some(())?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// The snapshot that a file's whole records lead to; nothing when not even the first one is whole.
fn replay(mut bytes: &[u8], path: &Path) -> Option<Snapshot> {
    let mut held: Option<Snapshot> = None;
    while let Some((text, rest)) = next_record(bytes) {
        let answer = Answer::read(text).ok()?;
        let mut next = held.take().unwrap_or_default();
        let taken = next.take(answer);
        // A refused record leaves what was held; before a first one that is nothing.
        held = Some(next).filter(|next| !next.store.is_empty());
        if let Err(error) = taken {
            tracing::warn!(file = %path.display(), %error, "ledger record does not follow");
            return held;
        }
        bytes = rest;
    }
    if !bytes.is_empty() {
        tracing::warn!(file = %path.display(), bytes = bytes.len(), "ledger file has a torn tail");
    }
    held
}

/// A snapshot as one full answer.
fn truth(snapshot: &Snapshot) -> Result<String, LedgerError> {
    let full = Full {
        store: snapshot.store.clone(),
        generation: snapshot.generation,
        hash: snapshot.hash,
        items: snapshot.items.values().cloned().collect(),
    };
    serde_json::to_string(&full).map_err(LedgerError::Write)
}

/// The ledger's files, the newest first.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, DurableError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(durable::failed("list", folder))? {
        let path = entry.map_err(durable::failed("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(serial) = name.strip_prefix("snapshot.").and_then(|text| text.parse().ok()) {
            files.push((serial, path));
        }
    }
    files.sort_by_key(|(serial, _)| std::cmp::Reverse(*serial));
    Ok(files)
}

#[cfg(test)]
mod tests;
