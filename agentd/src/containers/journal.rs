//! What the network driver must know after a restart: which Docker network is which of ours, which
//! endpoint has which address, which addresses of the reserve are taken.
//!
//! One JSON record per line, appended and synced before Docker gets its answer; rewritten as a
//! whole when it has grown. A torn last line is what a crash leaves and is dropped: its answer was
//! never given. Owns the file and its meaning; decides nothing.

use crate::durable::{self, DurableError, failed};
use api::mac::Mac;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An address of a managed network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The network.
    pub vni: u32,
    /// The address.
    pub ip: Ipv4Addr,
}

/// An address of a managed network and the Ethernet address that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Network and address.
    #[serde(flatten)]
    pub place: Place,
    /// The Ethernet address.
    pub mac: Mac,
}

/// One change of the [`State`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// A Docker network belongs to a managed network.
    Network {
        /// Docker's id.
        id: String,
        /// The managed network.
        vni: u32,
    },
    /// A Docker network is gone.
    NetworkGone {
        /// Docker's id.
        id: String,
    },
    /// An endpoint has an address; any other endpoint with that address is gone.
    Endpoint {
        /// Docker's id.
        id: String,
        /// What it has.
        port: Port,
    },
    /// An endpoint is gone.
    EndpointGone {
        /// Docker's id.
        id: String,
    },
    /// An address of the reserve was given to Docker.
    Taken(Place),
    /// Docker gave it back.
    Released(Place),
    /// It has rested long enough.
    Rested(Place),
    /// A hand-run container holds an address, or held it when it last ran.
    Bound {
        /// Docker's id of the container.
        container: String,
        /// What it has.
        port: Port,
    },
    /// A hand-run container is gone.
    Unbound {
        /// Docker's id of the container.
        container: String,
    },
}

/// What all records so far come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// VNIs by Docker's network id.
    pub networks: BTreeMap<String, u32>,
    /// Ports by Docker's endpoint id; no two share an address.
    pub endpoints: BTreeMap<String, Port>,
    /// Addresses of the reserve that Docker holds.
    pub taken: BTreeSet<Place>,
    /// Addresses of the reserve that Docker gave back a short while ago.
    pub resting: BTreeSet<Place>,
    /// Ports of hand-run containers by Docker's container id and VNI.
    pub bound: BTreeMap<(String, u32), Port>,
}

impl State {
    /// Applies one record; applying it again changes nothing. True when it changed something.
    pub fn apply(&mut self, record: &Record) -> bool {
        match record {
            Record::Network { id, vni } => self.networks.insert(id.clone(), *vni) != Some(*vni),
            Record::NetworkGone { id } => self.networks.remove(id).is_some(),
            Record::Endpoint { id, port } => give(&mut self.endpoints, id.clone(), *port),
            Record::EndpointGone { id } => self.endpoints.remove(id).is_some(),
            Record::Taken(place) => {
                let rested = self.resting.remove(place);
                self.taken.insert(*place) || rested
            }
            Record::Released(place) => {
                let taken = self.taken.remove(place);
                taken && self.resting.insert(*place)
            }
            Record::Rested(place) => self.resting.remove(place),
            Record::Bound { container, port } => {
                give(&mut self.bound, (container.clone(), port.place.vni), *port)
            }
            Record::Unbound { container } => {
                let count = self.bound.len();
                self.bound.retain(|(held, _), _| held != container);
                self.bound.len() != count
            }
        }
    }

    /// The shortest list of records that leads to this state.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let networks =
            self.networks.iter().map(|(id, vni)| Record::Network { id: id.clone(), vni: *vni });
        let endpoints = self
            .endpoints
            .iter()
            .map(|(id, port)| Record::Endpoint { id: id.clone(), port: *port });
        let resting = self.resting.iter().flat_map(|place| {
            // Only what was taken can be released.
            [Record::Taken(*place), Record::Released(*place)]
        });
        let taken = self.taken.iter().map(|place| Record::Taken(*place));
        let bound = self
            .bound
            .iter()
            .map(|((id, _), port)| Record::Bound { container: id.clone(), port: *port });
        networks.chain(endpoints).chain(resting).chain(taken).chain(bound).collect()
    }
}

/// Gives a port to a holder and takes it from all others.
fn give<K: Ord>(holders: &mut BTreeMap<K, Port>, holder: K, port: Port) -> bool {
    if holders.get(&holder) == Some(&port) {
        return false;
    }
    holders.retain(|_, held| held.place != port.place);
    holders.insert(holder, port);
    true
}

/// The state and the file that keeps it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    state: Arc<State>,
    /// Bytes known to be whole records.
    length: u64,
    records: usize,
}

/// A journal of this many records is rewritten when most of them are history.
const REWRITE_ABOVE: usize = 512;

impl Journal {
    /// Opens the journal at `path`, making it when there is none.
    ///
    /// # Errors
    /// When the file cannot be read, rewritten or opened for writing.
    pub fn open(path: &Path) -> Result<Self, DurableError> {
        if let Some(folder) = path.parent() {
            durable::folder(folder)?;
        }
        let content = durable::read(path)?.unwrap_or_default();
        let state = replay(path, &content);
        let (file, length, records) = rewrite(path, &state)?;
        Ok(Self { path: path.into(), file, state: Arc::new(state), length, records })
    }

    /// What is known.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Makes changes durable, then known. Records that change nothing are not written.
    ///
    /// # Errors
    /// When they cannot be written; then none of them counts.
    pub fn append(&mut self, records: &[Record]) -> Result<(), DurableError> {
        let mut next = State::clone(&self.state);
        let mut text = Vec::new();
        let mut count = 0;
        for record in records {
            if next.apply(record) {
                write_line(&mut text, record).map_err(failed("encode a record of", &self.path))?;
                count += 1;
            }
        }
        if count == 0 {
            return Ok(());
        }
        self.write(&text)?;
        self.length += text.len() as u64;
        self.records += count;
        self.state = Arc::new(next);
        if self.records > REWRITE_ABOVE && self.records > 4 * self.state.records().len() {
            (self.file, self.length, self.records) = rewrite(&self.path, &self.state)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> Result<(), DurableError> {
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            // Half a line must not stand before the next one. If even this fails, the half line
            // is skipped when it is read.
            if let Err(error) = self.file.set_len(self.length) {
                tracing::warn!(%error, path = %self.path.display(), "cannot cut off a torn record");
            }
            failed("append to", &self.path)(error)
        })
    }
}

fn replay(path: &Path, content: &[u8]) -> State {
    let mut state = State::default();
    for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => {
                state.apply(&record);
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a torn record is left out");
            }
        }
    }
    state
}

fn rewrite(path: &Path, state: &State) -> Result<(File, u64, usize), DurableError> {
    let records = state.records();
    let mut text = Vec::new();
    for record in &records {
        write_line(&mut text, record).map_err(failed("encode a record of", path))?;
    }
    durable::write(path, &text)?;
    let file = OpenOptions::new().append(true).open(path);
    let file = file.map_err(failed("open for appending", path))?;
    Ok((file, text.len() as u64, records.len()))
}

fn write_line(text: &mut Vec<u8>, record: &Record) -> std::io::Result<()> {
    serde_json::to_writer(&mut *text, record)?;
    text.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests;
