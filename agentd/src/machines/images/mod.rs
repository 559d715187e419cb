//! The host's image cache: one verified, read-only copy per content.
//!
//! Layout of the cache's folder: `sha256-<digest>.<format>` are images; `names/` maps what an image
//! was asked by (checksum, or URL when there is none) to such a file; `partial/` has downloads under
//! way. A file gets its final name only after its checksum and header were accepted and its content
//! synced, so that nothing but a whole image ever has such a name. Images are never changed and not
//! removed while the agent lives: machines' disks are their children.

mod address;
mod digest;
mod fetch;
mod inspect;
mod transport;

pub use address::{AddressError, Allowed};
pub use digest::{Checksum, ChecksumError};
pub use fetch::{FetchError, Progress};
pub use inspect::{Format, InspectError};
pub use transport::TransportError;

use crate::durable::{self, DurableError};
use api::item::DiskImage;
use api::report::ErrorKind;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// An image in the cache: its file's name within the cache's folder, and its format, which is
/// never probed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The file's name.
    pub file: String,
    /// Its format.
    pub format: Format,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The checksum is none.
    #[error("cannot use the checksum of image {image}")]
    Checksum {
        /// The image's uuid.
        image: String,
        /// What is wrong with it.
        #[source]
        source: ChecksumError,
    },
    /// A file of the host was asked for and this host does not give any.
    #[error(
        "image {image} is a file of this host, which it does not give out; to change that put \"file-images\" into `allow` of the agent's configuration"
    )]
    FileRefused {
        /// The image's uuid.
        image: String,
    },
    /// It could not be fetched.
    #[error("cannot fetch image {image} from {url}")]
    Fetch {
        /// The image's uuid.
        image: String,
        /// Where it was to come from.
        url: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// The content is another one.
    #[error("image {image} from {url} has checksum {found}, not {expected}")]
    Mismatch {
        /// The image's uuid.
        image: String,
        /// Where it came from.
        url: String,
        /// What was asked for.
        expected: Checksum,
        /// What came.
        found: String,
    },
    /// The content cannot be used as a disk.
    #[error("cannot use image {image} from {url}")]
    Unusable {
        /// The image's uuid.
        image: String,
        /// Where it came from.
        url: String,
        /// Why.
        #[source]
        source: InspectError,
    },
    /// The cache's files cannot be read or written.
    #[error("cannot keep image {image}")]
    Store {
        /// The image's uuid.
        image: String,
        /// Which file, and why.
        #[source]
        source: DurableError,
    },
}

impl ImageError {
    /// Whether it is of use to try again.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Checksum { .. } | Self::FileRefused { .. } | Self::Mismatch { .. } => {
                ErrorKind::Invalid
            }
            Self::Fetch { source, .. } => source.kind(),
            Self::Unusable { source, .. } => source.kind(),
            Self::Store { .. } => ErrorKind::Internal,
        }
    }
}

/// The image cache of one host.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    files_allowed: bool,
    fetcher: fetch::Fetcher,
    /// One fetch at a time for what is asked by one name.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Images {
    /// A cache in `folder`. `files_allowed` lets `file:` URLs in; `allowed` are addresses that are
    /// otherwise refused (loopback, link-local, private) and may be fetched from.
    #[must_use]
    pub fn new(folder: &Path, files_allowed: bool, allowed: Allowed) -> Self {
        Self {
            folder: folder.into(),
            files_allowed,
            fetcher: fetch::Fetcher::new(allowed),
            fetching: Mutex::default(),
        }
    }

    /// Where an image of the cache is.
    #[must_use]
    pub fn path(&self, base: &Base) -> PathBuf {
        self.folder.join(&base.file)
    }

    /// The image, from the cache or fetched into it. Who asks for one that is being fetched waits
    /// for it.
    ///
    /// # Errors
    /// When it cannot be fetched or is not to be trusted; nothing is left then but, for an image
    /// with a checksum, the part to go on from.
    pub async fn ensure(&self, image: &DiskImage, progress: Progress) -> Result<Base, ImageError> {
        let uuid = || image.uuid.clone();
        let stored = |source| ImageError::Store { image: uuid(), source };
        let checksum = image.checksum.as_deref().map(str::parse::<Checksum>).transpose();
        let checksum = checksum.map_err(|source| ImageError::Checksum { image: uuid(), source })?;
        let asked_by = checksum.as_ref().map_or_else(|| image.url.clone(), Checksum::to_string);
        let name = blake3::hash(asked_by.as_bytes()).to_hex().to_string();
        let turn = Arc::clone(self.lock_fetching().entry(name.clone()).or_default());
        let _turn = turn.lock().await;
        if let Some(base) = self.known(&name).map_err(stored)? {
            return Ok(base);
        }
        for folder in ["names", "partial"] {
            durable::folder(&self.folder.join(folder)).map_err(stored)?;
        }
        let partial = self.folder.join("partial").join(&name);
        let kept = self.fetch(image, checksum.as_ref(), &partial, progress).await;
        let base = match kept {
            Ok(base) => base,
            Err(error) => {
                // A part may only be gone on from when a checksum will tell whether it fits.
                let resumable = checksum.is_some() && matches!(error, ImageError::Fetch { .. });
                if !resumable {
                    durable::remove(&partial).map_err(stored)?;
                }
                return Err(error);
            }
        };
        let text = serde_json::json!(base).to_string();
        durable::write(&self.folder.join("names").join(&name), text.as_bytes()).map_err(stored)?;
        Ok(base)
    }

    fn lock_fetching(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a name stands for, if that is there and the file too.
    fn known(&self, name: &str) -> Result<Option<Base>, DurableError> {
        let content = durable::read(&self.folder.join("names").join(name))?;
        let base = content.and_then(|bytes| serde_json::from_slice::<Base>(&bytes).ok());
        Ok(base.filter(|base| self.path(base).is_file()))
    }

    async fn fetch(
        &self,
        image: &DiskImage,
        checksum: Option<&Checksum>,
        partial: &Path,
        progress: Progress,
    ) -> Result<Base, ImageError> {
        let (uuid, url) = (|| image.uuid.clone(), || image.url.clone());
        let stored = |source| ImageError::Store { image: uuid(), source };
        if image.url.starts_with("file:") && !self.files_allowed {
            return Err(ImageError::FileRefused { image: uuid() });
        }
        self.fetcher
            .fetch(&image.url, partial, checksum.is_some(), progress)
            .await
            .map_err(|source| ImageError::Fetch { image: uuid(), url: url(), source })?;
        let (sha256, found) = digest::of_file(partial, checksum).await.map_err(stored)?;
        if let (Some(expected), Some(found)) = (checksum, found) {
            return Err(ImageError::Mismatch {
                image: uuid(),
                url: url(),
                expected: expected.clone(),
                found,
            });
        }
        // The unprivileged child that looks at the header must be able to read it, and so must QEMU.
        let readable = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(partial, readable)
            .map_err(|error| stored(durable::failed("make readable", partial)(error)))?;
        let format = inspect::inspect(partial).await.map_err(|source| ImageError::Unusable {
            image: uuid(),
            url: url(),
            source,
        })?;
        let base = Base { file: format!("sha256-{sha256}.{}", format.name()), format };
        keep(partial, &self.path(&base)).map_err(stored)?;
        Ok(base)
    }
}

/// Gives a file that was accepted its final name. One of that name has the same content, and disks
/// may be open on it: it stays.
fn keep(partial: &Path, path: &Path) -> Result<(), DurableError> {
    if path.exists() {
        durable::remove(partial)?;
        return Ok(());
    }
    File::open(partial)
        .and_then(|file| file.sync_all())
        .map_err(durable::failed("sync", partial))?;
    std::fs::rename(partial, path).map_err(durable::failed("rename", partial))?;
    durable::sync_folder(path)
}

#[cfg(test)]
mod tests;
