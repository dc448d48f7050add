//! Devices as CSV: read for imports, written for exports and credentials.

use std::sync::Arc;

use anyhow::Context;
use dormouse_core::device::{Device, SettingsEdit};
use dormouse_core::ids::DeviceId;
use dormouse_core::services::registry::{ImportRow, RowError, RowOutcome};

/// Rows in one file at most.
pub const ROWS_MAX: usize = 20_000;

const COLUMNS: [&str; 5] = ["deviceId", "name", "location", "sockets", "periodS"];

/// Reads rows; one that cannot be read carries its error. A column that is
/// absent leaves its setting as it is.
///
/// # Errors
/// When the header or the file as a whole cannot be read.
pub fn read(bytes: &[u8]) -> Result<Vec<ImportRow>, RowError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(bytes);
    let header = reader
        .headers()
        .map_err(|_| error("header", "must be UTF-8"))?
        .clone();
    let positions = Positions::read(&header)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        if rows.len() == ROWS_MAX {
            return Err(error("body", format!("has more than {ROWS_MAX} rows")));
        }
        let row = match record {
            Ok(record) => ImportRow {
                line: record.position().map_or(0, csv::Position::line),
                content: positions.content(&record, header.len()),
            },
            Err(broken) => ImportRow {
                line: broken.position().map_or(0, csv::Position::line),
                content: Err(error("row", "must be UTF-8")),
            },
        };
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(error("body", "has no rows"));
    }
    Ok(rows)
}

/// Where each of [`COLUMNS`] stands in the file.
struct Positions([Option<usize>; COLUMNS.len()]);

impl Positions {
    fn read(header: &csv::StringRecord) -> Result<Self, RowError> {
        let mut positions = [None; COLUMNS.len()];
        for (at, name) in header.iter().enumerate() {
            let column = COLUMNS.iter().position(|column| *column == name);
            let known = column.ok_or_else(|| {
                let rule = format!("unknown column '{name}'; known are {}", COLUMNS.join(", "));
                error("header", rule)
            })?;
            if positions[known].replace(at).is_some() {
                return Err(error("header", format!("column '{name}' occurs twice")));
            }
        }
        if positions[0].is_none() {
            return Err(error("header", "needs the column 'deviceId'"));
        }
        Ok(Self(positions))
    }

    fn content(
        &self,
        record: &csv::StringRecord,
        columns: usize,
    ) -> Result<(DeviceId, SettingsEdit), RowError> {
        if record.len() != columns {
            let rule = format!("has {} fields, the header has {columns}", record.len());
            return Err(error("row", rule));
        }
        let field = |column: usize| self.0[column].and_then(|at| record.get(at));
        let id = DeviceId::parse(field(0).unwrap_or_default())
            .map_err(|broken| error("deviceId", broken.to_string()))?;
        let edit = SettingsEdit {
            name: field(1).map(str::to_owned),
            location: field(2).map(str::to_owned),
            sockets: number(field(3), "sockets", "1 to 32, or empty")?,
            period_s: number(field(4), "periodS", "1 to 86400, or empty")?,
        };
        Ok((id, edit))
    }
}

fn number<T: std::str::FromStr>(
    text: Option<&str>,
    field: &str,
    rule: &str,
) -> Result<Option<Option<T>>, RowError> {
    match text {
        None => Ok(None),
        Some("") => Ok(Some(None)),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(Some(number))),
            Err(_) => Err(error(field, rule)),
        },
    }
}

fn error(field: &str, rule: impl Into<String>) -> RowError {
    RowError {
        field: field.to_owned(),
        rule: rule.into(),
    }
}

/// Writes devices in the form that [`read`] takes.
///
/// # Errors
/// When memory runs out.
pub fn write(devices: &[Arc<Device>]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    let text = |number: Option<u32>| number.map_or_else(String::new, |it| it.to_string());
    for device in devices {
        let settings = &device.settings;
        writer.write_record([
            device.id.as_str(),
            &settings.name,
            &settings.location,
            &text(settings.sockets.map(u32::from)),
            &text(settings.period_s),
        ])?;
    }
    finish(writer)
}

/// Writes the credentials of the devices added:
/// `deviceId,username,password`.
///
/// # Errors
/// When memory runs out.
pub fn write_credentials(outcomes: &[RowOutcome]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["deviceId", "username", "password"])?;
    for outcome in outcomes {
        if let RowOutcome::Added(id, Some(password)) = outcome {
            writer.write_record([id.as_str(), id.as_str(), password.expose()])?;
        }
    }
    finish(writer)
}

fn finish(writer: csv::Writer<Vec<u8>>) -> anyhow::Result<String> {
    let bytes = writer.into_inner().context("writing CSV")?;
    String::from_utf8(bytes).context("writing CSV")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_may_come_in_any_order_and_most_may_be_absent() {
        let text = "\u{feff}sockets,deviceId,name\n4,A-302-strip01,\"Desk, left\"\n,b,\n";
        let rows = read(text.as_bytes()).unwrap();
        let (id, edit) = rows[0].content.clone().unwrap();
        assert_eq!((rows[0].line, id.as_str()), (2, "A-302-strip01"));
        assert_eq!(edit.name.as_deref(), Some("Desk, left"));
        assert_eq!((edit.location, edit.period_s), (None, None), "no columns");
        assert_eq!(edit.sockets, Some(Some(4)));
        let (_, bare) = rows[1].content.clone().unwrap();
        assert_eq!(bare.sockets, Some(None), "an empty cell");
    }

    #[test]
    fn a_bad_row_names_its_column_and_the_rest_is_read() {
        let text = "deviceId,sockets,periodS\na b,1,5\nc,x,5\nd,1\ne,1,-5\nf,2,5\n";
        let rows = read(text.as_bytes()).unwrap();
        let fields: Vec<_> = rows
            .iter()
            .map(|row| row.content.as_ref().err().map(|it| it.field.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                Some("deviceId"),
                Some("sockets"),
                Some("row"),
                Some("periodS"),
                None
            ]
        );
    }

    #[test]
    fn a_bad_header_is_refused() {
        for (text, part) in [
            ("", "deviceId"),
            ("name\nx\n", "deviceId"),
            ("deviceId,colour\nx,red\n", "colour"),
            ("deviceId,deviceId\nx,y\n", "twice"),
            ("deviceId\n", "no rows"),
        ] {
            let rule = read(text.as_bytes()).unwrap_err().rule;
            assert!(rule.contains(part), "{text:?}: {rule}");
        }
        assert_eq!(read(b"\xff\xfe\n").unwrap_err().field, "header");
        let rows = read(b"deviceId\nx\n\xff\n").unwrap();
        assert!(rows[0].content.is_ok() && rows[1].content.is_err());
    }

    #[test]
    fn a_file_has_an_end() {
        let text = format!("deviceId\n{}", "x\n".repeat(ROWS_MAX + 1));
        assert_eq!(read(text.as_bytes()).unwrap_err().field, "body");
    }
}
