//! A container's volumes: `name:/path[:ro]`, or a path of the host where its operator allows that.
//!
//! Owns the rules; named volumes themselves are the engine's.

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

/// The entry of `allow` for paths of the host: alone for all of them, with `=/root` for those below
/// a folder.
pub const ALLOW_HOST_PATHS: &str = "host-paths";

/// A volume of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What is mounted.
    pub source: Source,
    /// Where, an absolute path.
    pub target: String,
    /// Whether it may not be written.
    pub read_only: bool,
}

/// What a volume shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A named volume, made when it does not exist.
    Named(String),
    /// A path of the host, checked.
    Host(PathBuf),
}

/// Why a volume cannot be used; trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Not of the form `name:/path[:ro]`.
    #[error("cannot read volume {0:?}: want name:/path, name:/path:ro or a path of the host first")]
    Form(String),
    /// Not a volume's name.
    #[error(
        "cannot use volume name {0:?}: want a letter or digit, then up to 63 letters, digits, \
         \"_\", \".\" or \"-\""
    )]
    Name(String),
    /// The host's operator did not allow it.
    #[error(
        "cannot mount {} into a container: this host does not allow it; its operator can, with \
         allow = [\"{ALLOW_HOST_PATHS}=/folder\"] in agentd's configuration",
        .0.display()
    )]
    NotAllowed(PathBuf),
    /// The path does not exist, or leads through a link or out of the allowed folder.
    #[error("cannot open {} below {} without following links", path.display(), root.display())]
    Open {
        /// What was asked for.
        path: PathBuf,
        /// The allowed folder.
        root: PathBuf,
        /// Why it failed.
        #[source]
        source: nix::Error,
    },
}

/// Reads the volumes of a container.
///
/// # Errors
/// For the first one that cannot be used.
pub fn read_all(texts: &[String], allow: &BTreeSet<String>) -> Result<Vec<Volume>, VolumeError> {
    texts.iter().map(|text| read(text, allow)).collect()
}

fn read(text: &str, allow: &BTreeSet<String>) -> Result<Volume, VolumeError> {
    let form = || VolumeError::Form(text.into());
    let mut parts = text.split(':');
    let (source, target) = (parts.next().ok_or_else(form)?, parts.next().ok_or_else(form)?);
    let read_only = match parts.next() {
        None | Some("rw") => false,
        Some("ro") => true,
        Some(_) => return Err(form()),
    };
    if parts.next().is_some() || !target.starts_with('/') {
        return Err(form());
    }
    let source = if source.starts_with('/') {
        Source::Host(check(Path::new(source), allow)?)
    } else if is_name(source) {
        Source::Named(source.into())
    } else {
        return Err(VolumeError::Name(source.into()));
    };
    Ok(Volume { source, target: target.into(), read_only })
}

/// The name in a volume's text; none for a path of the host.
#[must_use]
pub fn name_of(text: &str) -> Option<&str> {
    text.split(':').next().filter(|source| is_name(source))
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= 64
        && text.bytes().all(plain)
        && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

/// The path that the engine is to mount: opened below an allowed folder without following links,
/// then asked of the kernel, so that what was checked is what is used.
fn check(path: &Path, allow: &BTreeSet<String>) -> Result<PathBuf, VolumeError> {
    let root = allowed_root(path, allow).ok_or_else(|| VolumeError::NotAllowed(path.into()))?;
    let failed = |source| VolumeError::Open { path: path.into(), root: root.clone(), source };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let folder = nix::fcntl::open(&root, flags, nix::sys::stat::Mode::empty()).map_err(failed)?;
    let below = match path.strip_prefix(&root) {
        Ok(below) if below.as_os_str().is_empty() => Path::new("."),
        Ok(below) => below,
        Err(_) => return Err(VolumeError::NotAllowed(path.into())),
    };
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let opened = openat2(folder.as_fd(), below, how).map_err(failed)?;
    let link = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let found = nix::fcntl::readlink(link.as_str()).map_err(failed)?;
    Ok(PathBuf::from(found))
}

fn allowed_root(path: &Path, allow: &BTreeSet<String>) -> Option<PathBuf> {
    if allow.contains(ALLOW_HOST_PATHS) {
        return Some(PathBuf::from("/"));
    }
    let roots = allow.iter().filter_map(|entry| {
        entry.strip_prefix(ALLOW_HOST_PATHS).and_then(|rest| rest.strip_prefix('='))
    });
    roots.map(PathBuf::from).find(|root| root.is_absolute() && path.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(entries: &[String]) -> BTreeSet<String> {
        entries.iter().cloned().collect()
    }

    #[test]
    fn named_volumes_are_free() {
        let volume = read("data.1_x-y:/var/lib/data:ro", &allow(&[])).unwrap();
        assert_eq!(volume.source, Source::Named("data.1_x-y".into()));
        assert_eq!((volume.target.as_str(), volume.read_only), ("/var/lib/data", true));
        let long = format!("{}:/x", "a".repeat(65));
        for bad in ["", "data", ":/x", "-data:/x", "da ta:/x", "../etc:/x", "a/b:/x", &long] {
            assert!(read(bad, &allow(&[])).is_err(), "{bad}");
        }
        for bad in ["data:relative", "data:/x:rx", "data:/x:ro:ro"] {
            assert!(matches!(read(bad, &allow(&[])), Err(VolumeError::Form(_))), "{bad}");
        }
    }

    #[test]
    fn paths_of_the_host_are_checked_below_an_allowed_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("in/deep")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("in/link")).unwrap();
        let allowed = allow(&[format!("host-paths={}", root.join("in").display())]);
        let ask = |path: &str, allow| read(&format!("{}/{path}:/x", root.display()), allow);
        let deep = ask("in/deep", &allowed).unwrap();
        assert_eq!(deep.source, Source::Host(root.join("in/deep")));
        let nothing = allow(&[]);
        assert!(matches!(ask("in/deep", &nothing), Err(VolumeError::NotAllowed(_))));
        assert!(matches!(ask("other", &allowed), Err(VolumeError::NotAllowed(_))));
        for escape in ["in/link", "in/link/ssh", "in/../other", "in/absent"] {
            assert!(matches!(ask(escape, &allowed), Err(VolumeError::Open { .. })), "{escape}");
        }
    }
}
