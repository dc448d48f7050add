//! Archives that are whole, and archives that are not.

use std::io::Cursor;
use std::path::Path;

use dormouse_core::clock::Timestamp;
use rusqlite::Connection;

use super::*;
use crate::datadir::DataDir;
use crate::journal::FileJournal;
use crate::progress::{Silent, Stopped, Unit, Watch};
use crate::store::sqlite::{DORMOUSE, SqliteFile, Synchronous};

const NOW: Timestamp = Timestamp::from_millis(1_777_636_800_000);

/// A site with devices `a` to `c` and an empty journal.
async fn site(folder: &Path) -> DataDir {
    let data = DataDir::open(folder).unwrap();
    let file = SqliteFile::open(&data.dormouse_db(), DORMOUSE, Synchronous::Full).unwrap();
    file.write(|db| {
        db.execute_batch(
            "INSERT INTO devices (id, state, name, location, access, version, revision, created_at)
             VALUES ('a', 'active', '', '', 'none', 1, 1, 0),
                    ('b', 'active', '', '', 'none', 1, 2, 0),
                    ('c', 'active', '', '', 'none', 1, 3, 0);",
        )
    })
    .await
    .unwrap();
    file.close().await;
    let journal = FileJournal::open(&data.journal(), 1 << 20, None).unwrap();
    journal.close();
    journal.ended().await;
    data
}

fn back_up(data: &DataDir) -> anyhow::Result<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    Ok(make(data, scratch.path(), Vec::new(), NOW, &mut Silent)?.1)
}

fn restored(archive: &[u8], to: &Path) -> Result<Manifest, String> {
    restore(Cursor::new(archive), to, &mut Silent).map_err(|error| format!("{error:#}"))
}

fn devices(data: &Path) -> i64 {
    let db = Connection::open(data.join("dormouse.db")).unwrap();
    db.query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn what_was_backed_up_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let data = site(&dir.path().join("data")).await;
    let archive = back_up(&data).unwrap();
    let manifest = verify(Cursor::new(&archive), &mut Silent).unwrap();
    assert_eq!(manifest.created_at, NOW.to_rfc3339());
    let names: Vec<_> = manifest.members.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["dormouse.db", "journal"], "what a site has");
    assert_eq!(manifest.members[0].counts["devices"], 3);

    let to = dir.path().join("restored");
    assert_eq!(restored(&archive, &to).unwrap(), manifest);
    assert_eq!(devices(&to), 3);
    assert!(!to.join("restoring").exists());
    let journal = FileJournal::open(&to.join("journal"), 1 << 20, None).unwrap();
    assert_eq!(journal.stats().used, 0);
    DataDir::open(&to).unwrap().lock().unwrap();
}

#[tokio::test]
async fn a_damaged_archive_is_found_wherever_the_damage_is() {
    let dir = tempfile::tempdir().unwrap();
    let archive = back_up(&site(&dir.path().join("data")).await).unwrap();
    let to = dir.path().join("restored");
    let check = |bytes: &[u8], what: &str| {
        let error = verify(Cursor::new(bytes), &mut Silent).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("archive"), "{what}: {error}");
        assert_eq!(restored(bytes, &to).unwrap_err(), error, "{what}");
        assert!(!to.join("dormouse.db").exists(), "{what}: nothing in place");
        assert!(!to.join("restoring").exists(), "{what}: nothing left");
    };
    let content = zstd::decode_all(&archive[..]).unwrap();
    let mut harmless = 0;
    for at in (0..archive.len()).step_by(archive.len() / 12) {
        let mut broken = archive.clone();
        broken[at] ^= 0x10;
        // A few bits of the compressed form say nothing.
        if zstd::decode_all(&broken[..]).is_ok_and(|it| it == content) {
            harmless += 1;
        } else {
            check(&broken, &format!("byte {at} changed"));
        }
        check(&archive[..at], &format!("cut off at {at}"));
    }
    assert!(harmless < 4, "{harmless}");
    check(&archive[..archive.len() - 1], "the last byte missing");
    check(b"", "nothing");
    restored(&archive, &to).unwrap();
}

#[tokio::test]
async fn a_member_that_is_not_what_the_manifest_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let archive = back_up(&site(&dir.path().join("data")).await).unwrap();
    // The same archive, packed again with another database in it.
    let mut tar = tar::Archive::new(zstd::Decoder::new(&archive[..]).unwrap());
    let mut forged = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        let name = entry.path().unwrap().into_owned();
        if name == Path::new("dormouse.db") {
            bytes[5_000] ^= 1;
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        forged.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    let forged = forged.into_inner().unwrap().finish().unwrap();
    let error = restored(&forged, &dir.path().join("restored")).unwrap_err();
    assert!(
        error.contains("dormouse.db is not what its manifest says"),
        "{error}"
    );
}

#[tokio::test]
async fn another_archive_is_no_backup() {
    let mut other = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    other.append_data(&mut header, "x", &b"hi"[..]).unwrap();
    let other = other.into_inner().unwrap().finish().unwrap();
    let error = verify(Cursor::new(other), &mut Silent).unwrap_err();
    assert!(
        error.to_string().contains("no backup of Dormouse"),
        "{error}"
    );
}

#[tokio::test]
async fn only_an_empty_folder_without_a_server_is_restored_into() {
    let dir = tempfile::tempdir().unwrap();
    let data = site(&dir.path().join("data")).await;
    let archive = back_up(&data).unwrap();
    let error = restored(&archive, data.path()).unwrap_err();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(devices(data.path()), 3);

    let live = DataDir::open(&dir.path().join("live")).unwrap();
    let lock = live.lock().unwrap();
    let error = restored(&archive, live.path()).unwrap_err();
    assert!(error.contains("another Dormouse runs"), "{error}");
    drop(lock);
    // What an interrupted restore left is in nobody's way.
    std::fs::create_dir(live.restore_folder()).unwrap();
    std::fs::write(live.restore_folder().join("dormouse.db"), "half").unwrap();
    restored(&archive, live.path()).unwrap();
    assert_eq!(devices(live.path()), 3);
}

#[tokio::test]
async fn who_asks_it_to_stop_finds_nothing_left_behind() {
    struct StopAt(u32);
    impl Watch for StopAt {
        fn at(&mut self, _: &str, _: u64, _: u64, _: Unit) -> Result<(), Stopped> {
            self.0 = self.0.checked_sub(1).ok_or(Stopped)?;
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let data = site(&dir.path().join("data")).await;
    let archive = back_up(&data).unwrap();
    for steps in 0..2 {
        let scratch = tempfile::tempdir().unwrap();
        let made = make(&data, scratch.path(), Vec::new(), NOW, &mut StopAt(steps));
        assert!(format!("{:#}", made.unwrap_err()).contains("stopped"));
        let to = dir.path().join("restored");
        let done = restore(Cursor::new(&archive), &to, &mut StopAt(steps));
        assert!(format!("{:#}", done.unwrap_err()).contains("stopped"));
        assert!(!to.join("restoring").exists());
    }
}

#[tokio::test]
async fn a_site_of_a_newer_dormouse_is_not_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let data = site(&dir.path().join("data")).await;
    let db = Connection::open(data.dormouse_db()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    let error = back_up(&data).unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}
