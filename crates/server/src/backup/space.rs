//! Whether a disk has room, asked before a long piece of work.

use std::path::Path;

use anyhow::{Context, ensure};

const MIB: u64 = 1 << 20;

/// Checks that `bytes` fit beside what is in `folder`.
///
/// # Errors
/// When they do not, or nobody can tell.
pub(super) fn require(folder: &Path, bytes: u64, what: &str) -> anyhow::Result<()> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking how much room {} has", folder.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    ensure!(
        free >= bytes,
        "{} has {} MiB free, {what} need {} MiB: make room, or choose another disk",
        folder.display(),
        free / MIB,
        bytes.div_ceil(MIB)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        require(dir.path(), 0, "files").unwrap();
        let error = require(dir.path(), u64::MAX, "files").unwrap_err();
        assert!(error.to_string().contains("files need"), "{error}");
    }
}
