//! What a fetched file is, told by `qemu-img` in a child without privileges.
//!
//! A disk's header is somebody else's input to a large C program, so the child runs as an
//! unprivileged user with limits on memory, time, output and files, and sees the file as an open
//! descriptor. What it says is believed once: the format is stored and named from then on.

use api::report::ErrorKind;
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// The user and group `nobody` and `nogroup` of Debian and its kin.
const NOBODY: u32 = 65_534;
/// Bytes of address space for the child.
const MEMORY: u64 = 1 << 30;
/// Bytes that are read from the child.
const OUTPUT: u64 = 1 << 20;
/// Seconds of processor time for the child.
const PROCESSOR: u64 = 10;
/// Time for the child, all in all.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of the largest disk that is accepted.
const LARGEST: u64 = 16 << 40;

/// The format of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own.
    Qcow2,
    /// A disk byte by byte.
    Raw,
}

impl Format {
    /// The name that QEMU, libvirt and file names use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// Why a file cannot be used as an image.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The child could not be run.
    #[error("cannot run qemu-img; is the package qemu-utils installed?")]
    Run(#[source] io::Error),
    /// The child did not end.
    #[error("qemu-img did not end within {} s", PATIENCE.as_secs())]
    Deadline,
    /// The child refused the file or ran into a limit.
    #[error("qemu-img refuses it: {words}")]
    Refused {
        /// What it said.
        words: String,
    },
    /// The child's answer cannot be read.
    #[error("cannot read what qemu-img says")]
    Answer(#[source] serde_json::Error),
    /// The format is not one of those that are accepted.
    #[error("its format is {format}; qcow2 and raw are accepted")]
    Format {
        /// The format's name.
        format: String,
    },
    /// It would read another file of this host.
    #[error("its header names another file ({what}), which could be any file of this host")]
    NamesFile {
        /// A backing file or an external data file.
        what: &'static str,
    },
    /// It is neither a known format nor a raw disk.
    #[error("it has no header of a known format and no boot sector")]
    NoDisk,
    /// It is too large a disk.
    #[error("its disk is {bytes} bytes large; {LARGEST} are accepted")]
    Large {
        /// The size.
        bytes: u64,
    },
}

impl InspectError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Run(_) => ErrorKind::MissingCapability,
            Self::Deadline | Self::Answer(_) => ErrorKind::Transient,
            _ => ErrorKind::Invalid,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    backing_filename: Option<serde_json::Value>,
    format_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Specific {
    data: Option<SpecificData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SpecificData {
    data_file: Option<serde_json::Value>,
    data_file_raw: Option<bool>,
}

/// Asks for the format of the file at `path`, which everybody must be allowed to read.
pub(super) async fn inspect(path: &Path) -> Result<Format, InspectError> {
    let file = File::open(path).map_err(InspectError::Run)?;
    let sector = boot_sector(&file);
    let answer = ask(file).await?;
    judge(&answer, sector)
}

/// What the child's answer means. Pure.
fn judge(answer: &[u8], boot_sector: bool) -> Result<Format, InspectError> {
    let info: Info = serde_json::from_slice(answer).map_err(InspectError::Answer)?;
    if info.backing_filename.is_some() {
        return Err(InspectError::NamesFile { what: "a backing file" });
    }
    let data = info.format_specific.and_then(|specific| specific.data);
    if data.is_some_and(|data| data.data_file.is_some() || data.data_file_raw == Some(true)) {
        return Err(InspectError::NamesFile { what: "an external data file" });
    }
    if info.virtual_size > LARGEST {
        return Err(InspectError::Large { bytes: info.virtual_size });
    }
    match info.format.as_str() {
        "qcow2" => Ok(Format::Qcow2),
        // Whatever QEMU does not know it takes for a raw disk, an error page too.
        "raw" if boot_sector => Ok(Format::Raw),
        "raw" => Err(InspectError::NoDisk),
        _ => Err(InspectError::Format { format: info.format }),
    }
}

/// Whether the file ends its first sector as disks do that a firmware may boot.
fn boot_sector(file: &File) -> bool {
    let mut mark = [0; 2];
    file.read_exact_at(&mut mark, 510).is_ok() && mark == [0x55, 0xaa]
}

async fn ask(file: File) -> Result<Vec<u8>, InspectError> {
    let mut command = std::process::Command::new("qemu-img");
    // The descriptor's own path: the child could not walk to the file.
    command.args(["info", "--output=json", "/proc/self/fd/0"]);
    command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    // SAFETY: between fork and exec only setrlimit is called, which is safe in a signal handler.
    unsafe { command.pre_exec(limit) };
    let mut command = Command::from(command);
    let mut child = command.kill_on_drop(true).spawn().map_err(InspectError::Run)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let whole = async {
        let (answer, words) = tokio::join!(read(stdout), read(stderr));
        let status = child.wait().await.map_err(InspectError::Run)?;
        if status.success() {
            return answer.map_err(InspectError::Run);
        }
        let words = words.map_err(InspectError::Run)?;
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        Err(InspectError::Refused { words: format!("{words} ({status})") })
    };
    tokio::time::timeout(PATIENCE, whole).await.map_err(|_| InspectError::Deadline)?
}

fn limit() -> io::Result<()> {
    for (resource, value) in [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_CPU, PROCESSOR),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NOFILE, 64),
    ] {
        setrlimit(resource, value, value)?;
    }
    Ok(())
}

async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &str) -> Result<Format, String> {
        judge(answer.as_bytes(), false).map_err(|error| error.to_string())
    }

    #[test]
    fn only_disks_that_stand_alone_are_accepted() {
        let plain = r#"{"format": "qcow2", "virtual-size": 512, "format-specific": {"type": "qcow2", "data": {"compat": "1.1"}}}"#;
        assert_eq!(judged(plain), Ok(Format::Qcow2));
        let backed =
            r#"{"format": "qcow2", "virtual-size": 512, "backing-filename": "/etc/shadow"}"#;
        assert!(judged(backed).unwrap_err().contains("a backing file"));
        let data = r#"{"format": "qcow2", "virtual-size": 512, "format-specific": {"data": {"data-file": "/etc/shadow"}}}"#;
        assert!(judged(data).unwrap_err().contains("an external data file"));
        let vmdk = r#"{"format": "vmdk", "virtual-size": 512}"#;
        assert!(judged(vmdk).unwrap_err().contains("its format is vmdk"));
        let page = r#"{"format": "raw", "virtual-size": 512}"#;
        assert!(judged(page).unwrap_err().contains("no boot sector"));
        assert_eq!(judge(page.as_bytes(), true).unwrap(), Format::Raw);
        let huge = r#"{"format": "qcow2", "virtual-size": 18446744073709551615}"#;
        assert!(judged(huge).unwrap_err().contains("bytes large"));
    }
}
