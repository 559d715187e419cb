//! Checksums of images: the algorithm is told by the digest's length.

use crate::durable::{self, DurableError};
use sha2::digest::DynDigest;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// A digest that an image must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    /// In lower case.
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// A text that is no digest of a known kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    /// It has something else than hexadecimal digits in it.
    #[error("it is not hexadecimal")]
    NotHex,
    /// No known algorithm has digests of this length.
    #[error("it has {digits} digits: 32 would be MD5, 40 SHA-1, 64 SHA-256 and 128 SHA-512")]
    Length {
        /// How many digits it has.
        digits: usize,
    },
}

impl FromStr for Checksum {
    type Err = ChecksumError;

    fn from_str(text: &str) -> Result<Self, ChecksumError> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ChecksumError::NotHex);
        }
        let algorithm = match text.len() {
            32 => Algorithm::Md5,
            40 => Algorithm::Sha1,
            64 => Algorithm::Sha256,
            128 => Algorithm::Sha512,
            digits => return Err(ChecksumError::Length { digits }),
        };
        Ok(Self { algorithm, hex: text.to_ascii_lowercase() })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.algorithm {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        };
        write!(f, "{name}:{}", self.hex)
    }
}

impl Algorithm {
    fn hasher(self) -> Box<dyn DynDigest + Send> {
        match self {
            Self::Md5 => Box::new(md5::Md5::default()),
            Self::Sha1 => Box::new(sha1::Sha1::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

/// The file's SHA-256 in hexadecimal and, when it does not have the `expected` digest, the one it
/// has instead.
pub(super) async fn of_file(
    path: &Path,
    expected: Option<&Checksum>,
) -> Result<(String, Option<String>), DurableError> {
    let (owned, expected) = (path.to_owned(), expected.cloned());
    let hashing = tokio::task::spawn_blocking(move || hash(&owned, expected.as_ref()));
    let outcome = hashing.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    outcome.map_err(durable::failed("read", path))
}

fn hash(path: &Path, expected: Option<&Checksum>) -> std::io::Result<(String, Option<String>)> {
    let mut file = std::fs::File::open(path)?;
    let mut sha256 = Algorithm::Sha256.hasher();
    // SHA-256 is worked out anyway, for the name in the cache.
    let mut other = expected
        .filter(|checksum| checksum.algorithm != Algorithm::Sha256)
        .map(|checksum| checksum.algorithm.hasher());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        sha256.update(&buffer[..length]);
        if let Some(other) = &mut other {
            other.update(&buffer[..length]);
        }
    }
    let sha256 = hex::encode(sha256.finalize());
    let found = other.map_or_else(|| sha256.clone(), |other| hex::encode(other.finalize()));
    let differs = expected.is_some_and(|expected| expected.hex != found);
    Ok((sha256, differs.then_some(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_length_tells_the_algorithm() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"abc").unwrap();
        for digest in [
            "900150983cd24fb0d6963f7d28e17f72",
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ] {
            let checksum: Checksum = digest.parse().unwrap();
            assert_eq!(of_file(file.path(), Some(&checksum)).await.unwrap().1, None, "{checksum}");
            std::fs::write(file.path(), b"abd").unwrap();
            let (_, found) = of_file(file.path(), Some(&checksum)).await.unwrap();
            assert!(found.is_some(), "{checksum}");
            std::fs::write(file.path(), b"abc").unwrap();
        }
        assert_eq!("12".parse::<Checksum>(), Err(ChecksumError::Length { digits: 2 }));
        assert_eq!("zz".parse::<Checksum>(), Err(ChecksumError::NotHex));
    }
}
