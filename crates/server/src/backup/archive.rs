//! The archive: a tar file compressed with zstd, the manifest first.

use std::io::{self, Read, Write};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Member, NAME};
use crate::progress::{Unit, Watch};

/// A balance of speed and size: some hundred MiB a second.
const LEVEL: i32 = 3;
/// The largest manifest that is read, bytes.
const MANIFEST_MAX: u64 = 1 << 20;
const BUFFER: usize = 1 << 20;

/// Writes an archive, member by member.
pub(super) struct Writer<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, W>>,
    created_s: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn start(out: W, manifest: &Manifest, created_s: u64) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        let mut writer = Self {
            tar: tar::Builder::new(encoder),
            created_s,
        };
        let text = serde_json::to_vec_pretty(manifest)?;
        writer.add(NAME, text.len() as u64, &text[..])?;
        Ok(writer)
    }

    /// Adds a member of exactly `bytes` bytes.
    pub(super) fn add(&mut self, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.created_s);
        self.tar.append_data(&mut header, name, content)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.tar.into_inner()?.finish()
    }
}

/// Reads an archive to its end and checks every byte of it. `begin` hears the
/// manifest, then gives for each member where its bytes go.
///
/// # Errors
/// When it is damaged, cut off, or not such an archive.
pub(super) fn read<W: Write>(
    from: impl Read,
    watch: &mut dyn Watch,
    begin: impl FnOnce(&Manifest) -> anyhow::Result<()>,
    mut place: impl FnMut(&Member) -> anyhow::Result<W>,
) -> anyhow::Result<Manifest> {
    let broken = "the archive is damaged or cut off";
    let decoder = zstd::Decoder::new(from).context("reading the archive")?;
    let mut archive = tar::Archive::new(decoder);
    let mut entries = archive.entries().context(broken)?;
    let mut next = |name: &str| -> anyhow::Result<_> {
        let Some(entry) = entries.next() else {
            bail!("{broken}: {name} is missing");
        };
        let entry =
            entry.context("this archive is no backup of Dormouse, or it is damaged or cut off")?;
        let found = entry.path_bytes();
        ensure!(
            found == name.as_bytes(),
            "this archive is no backup of Dormouse, or it is damaged: it holds {:?} where {name} should be",
            String::from_utf8_lossy(&found)
        );
        drop(found);
        Ok(entry)
    };
    let mut text = Vec::new();
    next(NAME)?
        .take(MANIFEST_MAX)
        .read_to_end(&mut text)
        .context(broken)?;
    let manifest = Manifest::parse(&text)?;
    begin(&manifest)?;
    for member in &manifest.members {
        let entry = next(&member.name)?;
        let mut to = place(member)?;
        copy(entry, &mut to, member, watch)?;
    }
    ensure!(
        entries.next().is_none(),
        "{broken}: it holds more than its manifest says"
    );
    // The end of the frame carries the checksum of the whole.
    io::copy(&mut archive.into_inner(), &mut io::sink()).context(broken)?;
    Ok(manifest)
}

/// Copies a member and compares it with what the manifest says.
fn copy(
    mut from: impl Read,
    to: &mut impl Write,
    member: &Member,
    watch: &mut dyn Watch,
) -> anyhow::Result<()> {
    let name = &member.name;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    loop {
        let read = from
            .read(&mut buffer)
            .with_context(|| format!("the archive is damaged or cut off within {name}"))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        to.write_all(&buffer[..read])
            .with_context(|| format!("writing {name}"))?;
        done += read as u64;
        watch.at(name, done, member.bytes.max(done), Unit::Bytes)?;
    }
    to.flush().with_context(|| format!("writing {name}"))?;
    let sum = hex(&hash.finalize());
    ensure!(
        done == member.bytes && sum == member.sha256,
        "the archive is damaged: {name} is not what its manifest says (SHA-256 {sum}, should be {})",
        member.sha256
    );
    Ok(())
}

/// SHA-256 of all of `from`, hexadecimal, and its length.
pub(super) fn digest(
    mut from: impl Read,
    mut each: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut done = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hash.finalize()), done));
        }
        hash.update(&buffer[..read]);
        done += read as u64;
        each(done)?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
