//! Network namespaces kept by name: made, entered for a moment, removed.
//!
//! A namespace is a file under a folder of ours onto which the namespace is bind-mounted, as
//! iproute2 does it under `/run/netns`. Nothing stays inside: to open a socket there a short-lived
//! thread enters, opens it and ends, for a socket remembers the namespace it was made in.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The namespace of the calling thread, as a file.
pub const CURRENT: &str = "/proc/thread-self/ns/net";

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

/// Opens the namespace at `path`; the file keeps it alive and can be entered at any time.
///
/// # Errors
/// When there is none.
pub fn open(path: &Path) -> Result<File, NetnsError> {
    File::open(path).map_err(failed("open", path))
}

/// Runs `work` on a thread of its own inside the namespace at `path` and returns its result.
///
/// # Errors
/// When the namespace cannot be opened or entered.
pub fn enter<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    within(&open(path)?, work).map_err(failed("enter", path))
}

/// Runs `work` on a thread of its own inside an open namespace and returns its result.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn within<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_thread(|| {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
        Ok(work())
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
    on_thread(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        let none: Option<&str> = None;
        nix::mount::mount(Some(CURRENT), path, none, nix::mount::MsFlags::MS_BIND, none)?;
        Ok(())
    })
    .map_err(failed("make", path))?;
    Ok(true)
}

/// A thread that changes its namespace must end, or its next user would be in the wrong one.
fn on_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
