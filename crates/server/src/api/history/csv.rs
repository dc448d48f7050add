//! History as CSV: streamed in pages, however long the range.

use std::fmt::Write as _;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceId;
use dormouse_core::ports::PortError;
use dormouse_core::services::history::{Export, History, Points, Resolution};
use futures_util::stream;

use super::HistoryParams;
use super::point::HistoryPoint;
use crate::api::{ApiPath, ApiQuery, Caller, Problem, ProblemBody};

/// Rows read and sent at a time: what one export holds in memory.
const PAGE_ROWS: usize = 5_000;
const RAW_HEADER: &str = "time,ts,power_w,voltage_v,current_a,energy_wh,power_factor\n";
const BUCKET_HEADER: &str = "time,ts,count,covered_ms,power_w,min_power_w,max_power_w,energy_wh,\
bridged_wh,reset_wh,integrated_wh,rolled_back_wh,implausible_wh\n";

/// Exports the history of a strip or one of its sockets as CSV.
#[utoipa::path(
    get,
    path = "/devices/{deviceId}/history.csv",
    tag = "history",
    params(("deviceId" = String, Path, description = "Which device"), HistoryParams),
    responses(
        (status = 200, description = "One row per sample or bucket", content_type = "text/csv",
            body = String),
        (status = 404, description = "No such device", body = ProblemBody),
        (status = 422, description = "A range that makes no sense", body = ProblemBody),
    )
)]
pub(super) async fn export_of(
    _: Caller,
    State(history): State<History>,
    ApiPath(device): ApiPath<String>,
    ApiQuery(params): ApiQuery<HistoryParams>,
) -> Result<Response, Problem> {
    let device = DeviceId::parse(&device)?;
    let mut query = params.query()?;
    let resolution = *query.resolution.get_or_insert(Resolution::Raw);
    let export = history.export(&device, query)?;
    let name = format!(
        "attachment; filename=\"{device}-{}-{}.csv\"",
        query.socket,
        resolution.name()
    );
    let mut response = Body::from_stream(rows(history, export, resolution)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The lines. A failure under way ends the body early, which clients see as a
/// broken transfer rather than a complete file.
fn rows(
    history: History,
    export: Export,
    resolution: Resolution,
) -> impl stream::Stream<Item = Result<Bytes, PortError>> {
    let header = match resolution {
        Resolution::Raw => RAW_HEADER,
        Resolution::Minute | Resolution::Quarter | Resolution::Hour | Resolution::Day => {
            BUCKET_HEADER
        }
    };
    let start = (Some(header), export);
    stream::try_unfold((history, start), async |(history, (header, export))| {
        if let Some(header) = header {
            let page = Bytes::from_static(header.as_bytes());
            return Ok(Some((page, (history, (None, export)))));
        }
        let next = history.next_rows(export, PAGE_ROWS).await;
        let next = next.inspect_err(|error| tracing::error!(%error, "export broken off"))?;
        Ok(next.map(|(points, export)| (Bytes::from(write(&points)), (history, (None, export)))))
    })
}

fn write(points: &Points) -> String {
    let mut text = String::new();
    match points {
        Points::Raw(samples) => {
            for sample in samples {
                let it = HistoryPoint::from(sample);
                start_line(&mut text, it.ts);
                let power = [it.power_w, it.voltage_v, it.current_a];
                cells(&mut text, power);
                cells(&mut text, [it.energy_wh, it.power_factor]);
                text.push('\n');
            }
        }
        Points::Buckets(buckets) => {
            for at in buckets {
                let it = HistoryPoint::from(at);
                start_line(&mut text, it.ts);
                cells(&mut text, [it.count, it.covered_ms]);
                cells(&mut text, [it.power_w, it.min_power_w, it.max_power_w]);
                cells(&mut text, [it.energy_wh, it.bridged_wh, it.reset_wh]);
                let rest = [it.integrated_wh, it.rolled_back_wh, it.implausible_wh];
                cells(&mut text, rest);
                text.push('\n');
            }
        }
    }
    text
}

fn start_line(text: &mut String, ts: i64) {
    text.push_str(&Timestamp::from_millis(ts).to_rfc3339());
    cells(text, [Some(ts)]);
}

/// Appends cells; what is not known is empty.
fn cells<T: std::fmt::Display, const N: usize>(text: &mut String, cells: [Option<T>; N]) {
    for cell in cells {
        text.push(',');
        if let Some(cell) = cell {
            // Writing to a String cannot fail.
            write!(text, "{cell}").ok();
        }
    }
}
