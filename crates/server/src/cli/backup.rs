//! `dormouse backup` and `dormouse restore`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dormouse_core::clock::Clock;
use tempfile::{NamedTempFile, TempDir};

use super::serve::{block_on, stop_token, tell};
use crate::backup::{Manifest, make, restore, verify};
use crate::clock::SystemClock;
use crate::datadir::DataDir;
use crate::progress::{Teller, Watch};

/// Standard input or output in place of a file.
const STANDARD: &str = "-";
const BUFFER: usize = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// Folder of the databases; a server may run on it
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// The archive to write, such as site.tar.zst; - writes it to standard output
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    to: Option<PathBuf>,
    /// Replace the archive where it is there
    #[arg(long)]
    force: bool,
    /// Folder for copies of the databases until they are in the archive; the
    /// archive's own if absent
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Check an archive instead of making one; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "force", "scratch"])]
    verify: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The archive; - reads standard input
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Folder to restore into: empty, or not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

pub(super) fn run(args: BackupArgs) -> anyhow::Result<()> {
    off_the_runtime(move |watch| match (args.verify, args.to) {
        (Some(file), _) => {
            let manifest = verify(open(&file)?, watch)?;
            tell(&format!("{} is whole, {manifest}", file.display()));
            Ok(())
        }
        (None, Some(to)) => {
            let data = existing(&args.data)?;
            if to == Path::new(STANDARD) {
                to_stdout(&data, args.scratch.as_deref(), watch)
            } else {
                to_file(&data, &to, args.force, args.scratch.as_deref(), watch)
            }
        }
        (None, None) => bail!("--to: name the archive to write"),
    })
}

pub(super) fn run_restore(args: RestoreArgs) -> anyhow::Result<()> {
    off_the_runtime(move |watch| {
        let manifest = restore(open(&args.from)?, &args.data, watch)?;
        tell(&format!("restored {}, {manifest}", args.data.display()));
        Ok(())
    })
}

/// Runs `work`, which blocks; the first Ctrl-C stops it at its next step.
fn off_the_runtime(
    work: impl FnOnce(&mut dyn Watch) -> anyhow::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    block_on(async {
        let mut teller = Teller::new(stop_token()?);
        tokio::task::spawn_blocking(move || work(&mut teller)).await?
    })
}

fn existing(data: &Path) -> anyhow::Result<DataDir> {
    let found = DataDir::existing(data);
    ensure!(
        found.dormouse_db().is_file(),
        "--data: there is no site in {}; one on PostgreSQL is backed up there (pg_dump and its like)",
        data.display()
    );
    Ok(found)
}

fn open(file: &Path) -> anyhow::Result<Box<dyn Read>> {
    if file == Path::new(STANDARD) {
        return Ok(Box::new(std::io::stdin()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Box::new(BufReader::with_capacity(BUFFER, opened)))
}

fn to_stdout(data: &DataDir, scratch: Option<&Path>, watch: &mut dyn Watch) -> anyhow::Result<()> {
    let temporary = std::env::temp_dir();
    let scratch = scratch_in(scratch.unwrap_or(&temporary))?;
    let out = BufWriter::with_capacity(BUFFER, std::io::stdout());
    let (manifest, mut out) = make(data, scratch.path(), out, SystemClock::start().now(), watch)?;
    out.flush().context("writing the archive")?;
    tell(&format!("backed up, {manifest}"));
    Ok(())
}

fn to_file(
    data: &DataDir,
    to: &Path,
    force: bool,
    scratch: Option<&Path>,
    watch: &mut dyn Watch,
) -> anyhow::Result<()> {
    let taken = || {
        format!(
            "--to: {} is there already; --force replaces it",
            to.display()
        )
    };
    ensure!(force || !to.exists(), taken());
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let file = NamedTempFile::with_prefix_in(".dormouse-backup-", folder)
        .with_context(|| format!("--to: cannot write into {}", folder.display()))?;
    let scratch = scratch_in(scratch.unwrap_or(folder))?;
    let out = BufWriter::with_capacity(BUFFER, file);
    let (manifest, out) = make(data, scratch.path(), out, SystemClock::start().now(), watch)?;
    let file = out.into_inner().map_err(|error| error.into_error());
    keep(file?, to, folder, force)
        .with_context(|| format!("--to: cannot write {}", to.display()))?;
    report(to, &manifest)
}

/// Gives a finished archive its name, for good.
fn keep(file: NamedTempFile, to: &Path, folder: &Path, force: bool) -> anyhow::Result<()> {
    file.as_file().sync_all()?;
    match force {
        true => file.persist(to)?,
        false => file.persist_noclobber(to)?,
    };
    Ok(File::open(folder)?.sync_all()?)
}

fn report(to: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(to)?.len();
    tell(&format!("{} ({bytes} bytes), {manifest}", to.display()));
    Ok(())
}

fn scratch_in(folder: &Path) -> anyhow::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(".dormouse-backup-")
        .tempdir_in(folder)
        .with_context(|| format!("--scratch: cannot write into {}", folder.display()))
}
