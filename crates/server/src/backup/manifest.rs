//! The first member of a backup: what it holds, and how to know it is whole.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::store::sqlite::Database;

/// The manifest's name in the archive.
pub(super) const NAME: &str = "manifest.json";
/// The format that this Dormouse writes, and the newest that it reads.
const FORMAT: u32 = 1;
/// The journal's name in the archive.
pub(super) const JOURNAL: &str = "journal";

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The archive's format.
    pub format: u32,
    /// Which Dormouse made it.
    pub dormouse: String,
    /// When it was begun; what was acknowledged before is in it. RFC 3339.
    pub created_at: String,
    /// The files, in the order in which they follow.
    pub members: Vec<Member>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The file's name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// The number of its schema, for a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<usize>,
    /// How many of what it holds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

/// The name of a database's file in the archive.
pub(super) const fn name_of(database: Database) -> &'static str {
    match database {
        Database::History => "history.db",
        Database::Commands => "commands.db",
        Database::Dormouse => "dormouse.db",
    }
}

impl Manifest {
    /// One of this version's format.
    pub(super) fn new(created_at: String, members: Vec<Member>) -> Self {
        Self {
            format: FORMAT,
            dormouse: env!("CARGO_PKG_VERSION").to_owned(),
            created_at,
            members,
        }
    }

    /// Reads a manifest and checks that this Dormouse can use what follows.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let broken = "the archive is damaged: its manifest cannot be read";
        let Format { format } = serde_json::from_slice(bytes).context(broken)?;
        ensure!(
            format <= FORMAT,
            "the archive has format {format}, this Dormouse knows up to {FORMAT}: use a newer Dormouse"
        );
        let manifest: Self = serde_json::from_slice(bytes).context(broken)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        for member in &self.members {
            let name = member.name.as_str();
            let database = Database::ALL.into_iter().find(|it| name_of(*it) == name);
            ensure!(
                (database.is_some() || name == JOURNAL) && !seen.contains(&name),
                "the archive is damaged: its manifest names {name:?}"
            );
            seen.push(name);
            let (Some(database), found) = (database, member.schema) else {
                continue;
            };
            let Some(found) = found else {
                bail!("the archive is damaged: its manifest gives no schema of {name}");
            };
            let known = database.schema_known();
            ensure!(
                found <= known,
                "{name} in the archive has schema {found}, this Dormouse ({}) knows up to {known}: restore with the Dormouse that made it ({}) or a newer one",
                env!("CARGO_PKG_VERSION"),
                self.dormouse
            );
        }
        ensure!(
            seen.contains(&name_of(Database::Dormouse)),
            "the archive is damaged: it holds no {}",
            name_of(Database::Dormouse)
        );
        Ok(())
    }

    /// What the files take once restored, bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.members.iter().map(|member| member.bytes).sum()
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "made {} by Dormouse {}", self.created_at, self.dormouse)?;
        for member in &self.members {
            write!(f, "\n  {:<12} {:>12} bytes", member.name, member.bytes)?;
            if let Some(schema) = member.schema {
                write!(f, "  schema {schema}")?;
            }
            for (name, count) in &member.counts {
                write!(f, "  {count} {name}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let member = Member {
            name: "dormouse.db".to_owned(),
            bytes: 3,
            sha256: "00".to_owned(),
            schema: Some(1),
            counts: BTreeMap::from([("devices".to_owned(), 7)]),
        };
        Manifest::new("2026-05-01T12:00:00Z".to_owned(), vec![member])
    }

    fn parse(manifest: &Manifest) -> Result<Manifest, String> {
        Manifest::parse(&serde_json::to_vec(manifest).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn it_goes_both_ways() {
        assert_eq!(parse(&manifest()), Ok(manifest()));
        let text = manifest().to_string();
        assert!(text.contains("schema 1  7 devices"), "{text}");
    }

    #[test]
    fn what_this_version_cannot_use_is_refused() {
        type Change = fn(&mut Manifest);
        let cases: [(Change, &str); 6] = [
            (|it| it.format = 2, "format 2, this Dormouse knows up to 1"),
            (|it| it.members[0].schema = Some(99), "has schema 99"),
            (|it| it.members[0].schema = None, "no schema of dormouse.db"),
            (
                |it| it.members[0].name = "../x".to_owned(),
                "names \"../x\"",
            ),
            (
                |it| it.members.push(it.members[0].clone()),
                "names \"dormouse.db\"",
            ),
            (|it| it.members.clear(), "holds no dormouse.db"),
        ];
        for (change, expected) in cases {
            let mut manifest = manifest();
            change(&mut manifest);
            let error = parse(&manifest).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Manifest::parse(b"{}").is_err());
    }
}
