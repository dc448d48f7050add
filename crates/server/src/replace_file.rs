//! Files that others read while we write them: replaced whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tempfile::NamedTempFile;

/// Makes `path` hold `text`, durably; says whether it did not already. A file
/// that is there keeps its owner and mode, so that whoever could read it still
/// can; a new one gets `mode`.
///
/// # Errors
/// When the folder cannot be written to, or a file of another owner cannot be
/// given back to them: the file is then as it was.
pub fn replace_file(path: &Path, text: &str, mode: u32) -> io::Result<bool> {
    let before = match std::fs::metadata(path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if before.is_some() && std::fs::read(path)? == text.as_bytes() {
        return Ok(false);
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    // Readable by nobody else until it has the mode it is to have.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    let (mode, owner) = before.map_or((mode, None), |it| {
        (it.mode() & 0o777, Some((it.uid(), it.gid())))
    });
    if let Some((uid, gid)) = owner {
        let ours = file.as_file().metadata()?;
        if (ours.uid(), ours.gid()) != (uid, gid) {
            chown(file.path(), Some(uid), Some(gid))?;
        }
    }
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_file_is_replaced_once_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        assert!(replace_file(&path, "one", 0o600).unwrap());
        assert_eq!(mode(&path), 0o600);
        assert!(!replace_file(&path, "one", 0o644).unwrap());
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(replace_file(&path, "two", 0o600).unwrap());
        assert_eq!(mode(&path), 0o640);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(replace_file(&folder.path().join("no/file"), "x", 0o600).is_err());
    }
}
