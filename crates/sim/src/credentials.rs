//! Credentials on disk: CSV with the columns `deviceId,username,password`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::fleet::Credentials;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    device_id: String,
    username: String,
    password: String,
}

/// Reads credentials from a file.
///
/// # Errors
/// When the file cannot be read or a row is wrong; the error names the row.
pub(crate) fn load(path: &Path) -> anyhow::Result<Vec<Credentials>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    parse(file).with_context(|| format!("in {}", path.display()))
}

fn parse(input: impl Read) -> anyhow::Result<Vec<Credentials>> {
    let mut credentials = Vec::new();
    for (index, row) in csv::Reader::from_reader(input)
        .deserialize::<Row>()
        .enumerate()
    {
        let Row {
            device_id,
            username,
            password,
        } = row.with_context(|| {
            format!(
                "row {}: expected the columns deviceId,username,password",
                index + 2
            )
        })?;
        credentials.push(Credentials {
            device_id,
            username,
            password,
            joins: false,
        });
    }
    if credentials.is_empty() {
        bail!("no credentials in it");
    }
    Ok(credentials)
}

/// Writes credentials so that [`load`] reads them.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn save(output: impl Write, credentials: &[Credentials]) -> anyhow::Result<()> {
    let mut writer = csv::Writer::from_writer(output);
    for Credentials {
        device_id,
        username,
        password,
        ..
    } in credentials
    {
        let (device_id, username, password) =
            (device_id.clone(), username.clone(), password.clone());
        writer.serialize(Row {
            device_id,
            username,
            password,
        })?;
    }
    writer.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back() {
        let all = vec![Credentials::own("a", "p,\"1"), Credentials::own("b", "p2")];
        let mut file = Vec::new();
        save(&mut file, &all).unwrap();
        assert!(file.starts_with(b"deviceId,username,password\n"));
        assert_eq!(parse(file.as_slice()).unwrap(), all);
    }

    #[test]
    fn a_wrong_row_is_named() {
        let error = parse("deviceId,username,password\na,a,p\nb,b\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("row 3"), "{error:#}");
        assert!(parse("deviceId,username,password\n".as_bytes()).is_err());
    }
}
