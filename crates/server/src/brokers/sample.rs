//! Compares rendered files with the samples under `deploy/`.

use std::path::PathBuf;

/// Whoever sets this variable has the samples written anew.
const WRITE: &str = "DORMOUSE_WRITE_SAMPLES";

/// Fails where `deploy/{broker}/sample` is not exactly `files`.
pub(crate) fn compare(broker: &str, files: impl Iterator<Item = (&'static str, String)>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(broker)
        .join("sample");
    let mut expected = Vec::new();
    for (path, text) in files {
        let file = folder.join(path);
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let found = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(found, text, "{path}: write the samples anew with {WRITE}=1");
        expected.push(path.to_owned());
    }
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
