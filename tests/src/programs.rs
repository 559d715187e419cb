//! Where the programs under test are.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// The built program `name`, from the folder of the build that this test belongs to, or from
/// `STAMPEDE_PROGRAMS`.
///
/// # Errors
/// When it has not been built; a test must fail then, not skip.
pub fn find(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("STAMPEDE_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe()?
            .ancestors()
            .nth(2)
            .context("this test is not in a build folder")?
            .to_path_buf(),
    };
    let program = folder.join(name);
    ensure!(program.is_file(), "{} is missing: build it with `cargo build`", program.display());
    Ok(program)
}
