//! Putting a backup back.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use super::archive;
use super::manifest::Manifest;
use super::space;
use crate::datadir::DataDir;
use crate::progress::Watch;
use crate::store::sqlite::check;

/// Restores the backup read from `from` into the folder `data`, which must be
/// empty or not be there. Nothing is in place before all of it was found whole.
///
/// # Errors
/// When the archive is damaged or of a newer version, the folder holds
/// something or a server runs on it, or there is no room; the folder is then
/// as it was.
pub fn restore(from: impl Read, data: &Path, watch: &mut dyn Watch) -> anyhow::Result<Manifest> {
    refuse_occupied(data)?;
    let data = DataDir::open(data)?;
    let _lock = data.lock_to_restore()?;
    let partial = data.restore_folder();
    remove(&partial)?;
    std::fs::create_dir(&partial)
        .with_context(|| format!("--data: cannot make {}", partial.display()))?;
    let done = unpack(from, &partial, watch).and_then(|manifest| {
        put_in_place(&manifest, &partial, data.path())?;
        Ok(manifest)
    });
    // Where this fails too, the next restore does it.
    remove(&partial).ok();
    done
}

/// Reads all of a backup and checks it, without keeping anything.
///
/// # Errors
/// When it is damaged, or this Dormouse cannot restore it.
pub fn verify(from: impl Read, watch: &mut dyn Watch) -> anyhow::Result<Manifest> {
    archive::read(from, watch, |_| Ok(()), |_| Ok(std::io::sink()))
}

/// The folder may hold a lock that nobody has, remains of a restore that was
/// interrupted, and what a file system puts into its root.
fn refuse_occupied(data: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(data) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("--data: cannot read {}", data.display()));
        }
    };
    for entry in entries {
        let name = entry?.file_name();
        let ours = ["dormouse.lock", "restoring", "lost+found"];
        if !ours.iter().any(|it| name == *it) {
            bail!(
                "--data: {} is not empty (it holds {}): restore into an empty folder, then start the server on that",
                data.display(),
                name.to_string_lossy()
            );
        }
    }
    Ok(())
}

fn unpack(from: impl Read, partial: &Path, watch: &mut dyn Watch) -> anyhow::Result<Manifest> {
    let create = |name: &str| {
        let path = partial.join(name);
        std::os::unix::fs::OpenOptionsExt::mode(File::options().write(true).create_new(true), 0o600)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))
    };
    let manifest = archive::read(
        from,
        watch,
        |manifest| space::require(partial, manifest.bytes(), "the files of this backup"),
        |member| create(&member.name),
    )?;
    for member in &manifest.members {
        let path = partial.join(&member.name);
        if let Some(schema) = member.schema {
            check(&path, schema)?;
        }
        File::open(&path)
            .and_then(|file| file.sync_all())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(manifest)
}

fn put_in_place(manifest: &Manifest, partial: &Path, data: &Path) -> anyhow::Result<()> {
    let place = || {
        for member in &manifest.members {
            std::fs::rename(partial.join(&member.name), data.join(&member.name))?;
        }
        File::open(data)?.sync_all()
    };
    place().map_err(|error| {
        for member in &manifest.members {
            std::fs::remove_file(data.join(&member.name)).ok();
        }
        anyhow::Error::new(error).context(format!("putting the files into {}", data.display()))
    })
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
