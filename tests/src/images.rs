//! The small guest images, built once from installed packages by the scripts in `tests/images`.

use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tar of a busybox root, for `docker import`.
///
/// # Errors
/// When it cannot be built.
pub fn container() -> Result<PathBuf> {
    built("container-image.sh", "container.tar")
}

/// A bootable qcow2 that tells on its serial console what it learned.
///
/// # Errors
/// When it cannot be built.
pub fn machine() -> Result<PathBuf> {
    built("vm-image.sh", "vm.qcow2")
}

/// Builds an image unless it is there and newer than its sources, which the script decides. Test
/// programs run beside each other, so one builds and the others wait.
fn built(script: &str, name: &str) -> Result<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tests.parent().context("the tests have no project")?.join(".build/images");
    fs::create_dir_all(&folder)?;
    let image = folder.join(name);
    let lock = File::create(folder.join(format!("{name}.lock")))?;
    lock.lock()?;
    let script = tests.join("images").join(script);
    let status = Command::new(&script)
        .arg(&image)
        .status()
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(status.success(), "{} ended with {status}", script.display());
    Ok(image)
}
