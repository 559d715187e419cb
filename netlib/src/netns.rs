//! Network namespaces kept by name: made, entered for a moment, removed.
//!
//! A namespace is a file under a folder of ours onto which the namespace is bind-mounted, as
//! iproute2 does it under `/run/netns`. Nothing stays inside: to open a socket there a short-lived
//! thread enters, opens it and ends, for a socket remembers the namespace it was made in.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a namespace.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} network namespace {}", path.display())]
pub struct NetnsError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NetnsError {
    move |source| NetnsError { action, path: path.into(), source }
}

/// Runs `work` on a thread of its own inside the namespace at `path` and returns its result.
///
/// # Errors
/// When the namespace cannot be opened or entered.
pub fn enter<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let namespace = File::open(path).map_err(failed("open", path))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        match thread.join() {
            Ok(result) => result.map_err(failed("enter", path)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes a namespace at `path` unless there is one. True when it was made.
///
/// # Errors
/// When the file, the namespace or the mount cannot be made.
pub fn create(path: &Path) -> Result<bool, NetnsError> {
    if exists(path) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed("make the folder of", path))?;
    }
    File::create(path).map_err(failed("make the file of", path))?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> io::Result<()> {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
            let none: Option<&str> = None;
            let flags = nix::mount::MsFlags::MS_BIND;
            nix::mount::mount(Some("/proc/thread-self/ns/net"), path, none, flags, none)?;
            Ok(())
        });
        match thread.join() {
            Ok(result) => result.map_err(failed("make", path)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    Ok(true)
}

/// Removes the namespace at `path`; its links go with it. True when there was one.
///
/// # Errors
/// When the mount or the file cannot be removed.
pub fn remove(path: &Path) -> Result<bool, NetnsError> {
    if !path.exists() {
        return Ok(false);
    }
    if exists(path) {
        nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH)
            .map_err(|errno| failed("unmount", path)(errno.into()))?;
    }
    std::fs::remove_file(path).map_err(failed("remove the file of", path))?;
    Ok(true)
}

/// Whether a network namespace is mounted at `path`.
#[must_use]
pub fn exists(path: &Path) -> bool {
    const NSFS_MAGIC: nix::sys::statfs::FsType = nix::sys::statfs::FsType(0x6e73_6673);
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}
