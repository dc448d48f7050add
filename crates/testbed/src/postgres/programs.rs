//! PostgreSQL's programs: of Debian's packages, and of npm's for versions
//! that are not installed. They are run as the user that they accept.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::ADMIN;
use crate::npm;

/// Where Debian has a folder per version.
const DEBIAN: &str = "/usr/lib/postgresql";
const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../../postgres/package.json")),
    (
        "package-lock.json",
        include_str!("../../postgres/package-lock.json"),
    ),
    (".npmrc", include_str!("../../postgres/.npmrc")),
];

/// The newest version that Debian's packages installed, if any.
pub(super) fn newest_of_debian() -> Option<u32> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    versions
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .max()
}

/// The folder with the programs of version `major`: Debian's, or a package's,
/// of which a copy in `folder` is used where the server's user may not be able
/// to read the build folder. Without `major`, Debian's newest, or whatever the
/// search path finds.
///
/// # Errors
/// When that version is not to be had.
pub(super) fn folder_of(major: Option<u32>, folder: &Path) -> anyhow::Result<PathBuf> {
    let Some(major) = major.or_else(newest_of_debian) else {
        return Ok(PathBuf::new());
    };
    let debian = Path::new(DEBIAN).join(major.to_string()).join("bin");
    if debian.is_dir() {
        return Ok(debian);
    }
    let package = package(major)?;
    if server_user()?.is_none() {
        return Ok(package.join("bin"));
    }
    let copy = folder.join("programs");
    link_all(&package, &copy)?;
    Ok(copy.join("bin"))
}

/// What a package notes of a symbolic link, which npm does not carry: both
/// paths from the package's folder.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// The installed package with the server's version `major`.
fn package(major: u32) -> anyhow::Result<PathBuf> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let name = format!("postgresql-{major}-{machine}");
    let installed = npm::installed("testbed-postgres", &FILES)?;
    let package = installed.join("node_modules").join(&name);
    ensure!(
        package.is_dir(),
        "there is no {name}: install PostgreSQL {major} under {DEBIAN}"
    );
    let links = std::fs::read(package.join("native/pg-symlinks.json"))?;
    let links: Vec<Link> = serde_json::from_slice(&links).context("pg-symlinks.json")?;
    for Link { source, target } in links {
        let name = source.file_name().context("a link to nothing")?;
        let made = symlink(name, package.join(target));
        ensure!(
            made.as_ref().map_or_else(
                |it| it.kind() == std::io::ErrorKind::AlreadyExists,
                |()| true
            ),
            "cannot restore the links of {name:?}: {made:?}"
        );
    }
    Ok(package.join("native"))
}

/// Makes `to` a tree of the same files as `from`, readable by everybody.
fn link_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, PermissionsExt::from_mode(0o755))?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, there) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            link_all(&entry.path(), &there)?;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path())?, there)?;
        } else if std::fs::hard_link(entry.path(), &there).is_err() {
            // Another file system.
            std::fs::copy(entry.path(), there)?;
        }
    }
    Ok(())
}

/// The user id of `postgres`, where this process is root: PostgreSQL refuses
/// to run as root.
fn server_user() -> anyhow::Result<Option<(u32, u32)>> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let fields: Option<Vec<&str>> = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&ADMIN));
    let fields = fields.context("there is no user 'postgres': install PostgreSQL")?;
    let number = |at: usize| -> anyhow::Result<u32> {
        Ok(fields
            .get(at)
            .context("short line in /etc/passwd")?
            .parse()?)
    };
    Ok(Some((number(2)?, number(3)?)))
}

pub(crate) fn give_to_server(path: &Path) -> anyhow::Result<()> {
    if let Some((user, group)) = server_user()? {
        chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// `program`, run as the user that PostgreSQL accepts.
pub(crate) fn as_server(program: &Path) -> Command {
    match server_user() {
        Ok(Some((user, group))) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .arg(format!("--regid={group}"))
                .arg("--clear-groups")
                .arg(program);
            command
        }
        Ok(None) | Err(_) => Command::new(program),
    }
}
