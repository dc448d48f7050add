//! Files for tests.

use super::{DORMOUSE, SqliteFile, Synchronous};

/// An empty `dormouse.db`; removed with the folder.
pub(crate) fn dormouse_db() -> (tempfile::TempDir, SqliteFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dormouse.db");
    // Nothing here tests power cuts: waiting for the disk would only cost time.
    let file = SqliteFile::open(&path, DORMOUSE, Synchronous::Normal).unwrap();
    (dir, file)
}
