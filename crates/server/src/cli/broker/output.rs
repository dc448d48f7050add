//! Writes rendered files, or says what would change.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use dormouse_core::secret::Secret;

use crate::brokers::Rendered;
use crate::cli::print_raw;
use crate::replace_file::replace_file;

/// Where the secrets are, one to a file.
const SECRETS: &str = "secrets";

/// A folder to render into.
#[derive(Debug)]
pub(super) struct Output {
    folder: PathBuf,
    /// Whether nothing is to be written.
    dry: bool,
    /// Files that are new or other than before.
    changed: usize,
    told: String,
}

impl Output {
    pub(super) fn open(folder: &Path, dry: bool) -> anyhow::Result<Self> {
        if !dry {
            let secrets = folder.join(SECRETS);
            std::fs::create_dir_all(&secrets)
                .with_context(|| format!("--out: cannot make {}", secrets.display()))?;
            std::fs::set_permissions(&secrets, Permissions::from_mode(0o700))
                .with_context(|| format!("--out: cannot protect {}", secrets.display()))?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            dry,
            changed: 0,
            told: String::new(),
        })
    }

    /// The secret `name`, made at random (after `prefix`) where there is none yet.
    pub(super) fn secret(&mut self, name: &str, prefix: &str) -> anyhow::Result<Secret> {
        let path = self.folder.join(SECRETS).join(name);
        if let Some(text) = read(&path)? {
            let text = text.trim();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            ensure!(
                text.len() >= 16 && text.chars().all(plain),
                "{}: a secret here is at least 16 letters, digits, '-' or '_'; \
                 remove the file to have a new one made",
                path.display()
            );
            return Ok(Secret::new(text));
        }
        let secret = Secret::random(prefix);
        self.note(&format!("{SECRETS}/{name}"), "made");
        self.put(&path, &format!("{}\n", secret.expose()), 0o600)?;
        Ok(secret)
    }

    /// What the file `path` holds now; nothing where it is not there.
    pub(super) fn present(&self, path: &str) -> anyhow::Result<String> {
        Ok(read(&self.folder.join(path))?.unwrap_or_default())
    }

    /// Writes what changed, or says what would.
    pub(super) fn write(mut self, files: &[Rendered]) -> anyhow::Result<()> {
        for file in files {
            let path = self.folder.join(file.path);
            match read(&path)? {
                Some(now) if now == file.text => {
                    writeln!(self.told, "{}: unchanged", file.path)?;
                    continue;
                }
                None => self.note(file.path, "made"),
                Some(_) if file.secret => self.note(file.path, "changed (it holds secrets)"),
                Some(now) => {
                    self.note(file.path, "changed");
                    self.told.push_str(&difference(&now, &file.text));
                }
            }
            self.put(&path, &file.text, if file.secret { 0o600 } else { 0o644 })?;
        }
        print_raw(&self.told)?;
        if self.dry && self.changed > 0 {
            bail!("{} files would change", self.changed);
        }
        Ok(())
    }

    fn note(&mut self, path: &str, what: &str) {
        self.changed += 1;
        let would = if self.dry { "would be " } else { "" };
        self.told.push_str(&format!("{path}: {would}{what}\n"));
    }

    fn put(&self, path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
        if !self.dry {
            replace_file(path, text, mode)
                .with_context(|| format!("--out: cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The lines between the first and the last that differ.
fn difference(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut old.iter().zip(&new));
    let room = old.len().min(new.len()) - head;
    let tail = same(&mut old.iter().rev().zip(new.iter().rev())).min(room);
    let lines = |sign: char, lines: &[&str]| -> String {
        lines.iter().map(|it| format!("  {sign} {it}\n")).collect()
    };
    let place = format!("  line {}:\n", head + 1);
    place + &lines('-', &old[head..old.len() - tail]) + &lines('+', &new[head..new.len() - tail])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_changed_alone() {
        assert_eq!(
            difference("a\nb\nc\n", "a\nx\ny\nc\n"),
            "  line 2:\n  - b\n  + x\n  + y\n"
        );
        assert_eq!(difference("a\na\n", "a\n"), "  line 2:\n  - a\n");
        assert_eq!(difference("", "a\n"), "  line 1:\n  + a\n");
    }

    #[test]
    fn secrets_are_made_once_and_are_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let made = Output::open(folder.path(), false)
            .unwrap()
            .secret("api", "d1-")
            .unwrap();
        assert!(made.expose().starts_with("d1-"));
        let again = Output::open(folder.path(), false)
            .unwrap()
            .secret("api", "d1-")
            .unwrap();
        assert_eq!(made, again);
        let mode = std::fs::metadata(folder.path().join("secrets/api"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(folder.path().join("secrets/weak"), "admin\n").unwrap();
        let error = Output::open(folder.path(), false)
            .unwrap()
            .secret("weak", "")
            .unwrap_err();
        assert!(error.to_string().contains("at least 16"), "{error}");
    }

    #[test]
    fn a_dry_run_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = [Rendered::open("a", "x\n".to_owned())];
        let target = folder.path().join("new");
        let mut dry = Output::open(&target, true).unwrap();
        dry.secret("s", "").unwrap();
        let error = dry.write(&files).unwrap_err();
        assert_eq!(error.to_string(), "2 files would change");
        assert!(!target.exists());
    }
}
