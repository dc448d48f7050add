//! `GET /events` and `GET /incidents`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dormouse_core::clock::{Timestamp, rfc3339};
use dormouse_core::event::{EventType, Severity};
use dormouse_core::ids::{DeviceId, IncidentId};
use dormouse_core::incident::{Incident, Returned};
use dormouse_core::live::EventMessage;
use dormouse_core::ports::{EventQuery, IncidentQuery};
use dormouse_core::services::events::EventLog;
use dormouse_core::services::incidents::Incidents;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    ApiQuery, Caller, Page, Problem, ProblemBody, decode_cursor, encode_cursor, page_size,
};

/// The longest range of one request: far more than is kept.
const RANGE_MAX_DAYS: u64 = 3_660;

/// The two lists.
pub fn router(events: Arc<EventLog>, incidents: Arc<Incidents>) -> OpenApiRouter {
    let events = OpenApiRouter::new()
        .routes(routes!(list_events))
        .with_state(events);
    let incidents = OpenApiRouter::new()
        .routes(routes!(list_incidents))
        .with_state(incidents);
    events.merge(incidents)
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EventFilter {
    /// Only of this device.
    device_id: Option<String>,
    /// Only of this type, such as `DEVICE_OFFLINE` or `device.overload`.
    r#type: Option<String>,
    /// Only of this severity.
    severity: Option<Severity>,
    /// Only at or after this time, RFC 3339.
    from: Option<String>,
    /// Only before this time, RFC 3339.
    to: Option<String>,
    /// Where the page starts: the `nextCursor` of the page before.
    cursor: Option<String>,
    /// Items on the page, 1 to 500; 100 where absent.
    limit: Option<u32>,
}

impl EventFilter {
    fn parse(self) -> Result<EventQuery, Problem> {
        let device = self.device_id.as_deref().map(DeviceId::parse).transpose()?;
        let kind = self.r#type.as_deref().map(event_type).transpose()?;
        let from = self.from.as_deref().map(|text| moment("from", text));
        let to = self.to.as_deref().map(|text| moment("to", text));
        let (from, to) = (from.transpose()?, to.transpose()?);
        check_range(from, to)?;
        Ok(EventQuery {
            device,
            kind,
            severity: self.severity,
            from,
            to,
            after: self.cursor.as_deref().map(decode_cursor).transpose()?,
            limit: page_size(self.limit)? as usize,
        })
    }
}

/// Events, newest first.
#[utoipa::path(get, path = "/events", tag = "events", params(EventFilter), responses(
    (status = 200, description = "A page of events", body = Page<EventMessage>),
    (status = 401, description = "Not signed in", body = ProblemBody),
    (status = 422, description = "A parameter breaks a rule", body = ProblemBody),
))]
async fn list_events(
    _: Caller,
    State(events): State<Arc<EventLog>>,
    ApiQuery(filter): ApiQuery<EventFilter>,
) -> Result<Json<Page<EventMessage>>, Problem> {
    let mut query = filter.parse()?;
    let size = query.limit;
    query.limit += 1;
    let found = events.list(&query).await?;
    let page = page(found, size, |last| encode_cursor(&(last.ts, last.id)));
    Ok(Json(page))
}

/// Which incidents.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct IncidentFilter {
    /// Only those that have not ended.
    #[serde(default)]
    open: bool,
    /// Where the page starts: the `nextCursor` of the page before.
    cursor: Option<String>,
    /// Items on the page, 1 to 500; 100 where absent.
    limit: Option<u32>,
}

/// Devices of one place that went offline together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IncidentView {
    /// Which incident.
    #[schema(value_type = String, format = Uuid)]
    id: IncidentId,
    /// What happened: `devices-offline`.
    r#type: &'static str,
    /// The place they share; empty for the whole site.
    location: String,
    /// When the first of them went.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When the last of them was back; `null` before.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// How many are not back yet.
    missing: usize,
    /// All of them.
    devices: Vec<IncidentDevice>,
}

/// One device of an incident.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IncidentDevice {
    /// Which device.
    #[schema(value_type = String)]
    device_id: DeviceId,
    /// When it was back; `null` before.
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    back_at: Option<Timestamp>,
}

impl From<Incident> for IncidentView {
    fn from(incident: Incident) -> Self {
        Self {
            id: incident.id,
            r#type: "devices-offline",
            missing: incident.missing(),
            location: incident.location,
            started_at: incident.started_at,
            ended_at: incident.ended_at,
            devices: incident
                .devices
                .into_iter()
                .map(|(device_id, returned)| IncidentDevice {
                    device_id,
                    back_at: match returned {
                        Returned::At(at) => Some(at),
                        Returned::NotYet => None,
                    },
                })
                .collect(),
        }
    }
}

/// Incidents, newest first.
#[utoipa::path(get, path = "/incidents", tag = "events", params(IncidentFilter), responses(
    (status = 200, description = "A page of incidents", body = Page<IncidentView>),
    (status = 401, description = "Not signed in", body = ProblemBody),
    (status = 422, description = "A parameter breaks a rule", body = ProblemBody),
))]
async fn list_incidents(
    _: Caller,
    State(incidents): State<Arc<Incidents>>,
    ApiQuery(filter): ApiQuery<IncidentFilter>,
) -> Result<Json<Page<IncidentView>>, Problem> {
    let size = page_size(filter.limit)? as usize;
    let query = IncidentQuery {
        open_only: filter.open,
        after: filter.cursor.as_deref().map(decode_cursor).transpose()?,
        limit: size + 1,
    };
    let found = incidents.list(&query).await?;
    let place = |last: &Incident| encode_cursor(&(last.started_at, last.id));
    Ok(Json(page(found, size, place)))
}

/// A page of `size` out of what was `found`, which is one more where another
/// page follows.
fn page<T, V: From<T>>(mut found: Vec<T>, size: usize, place: impl Fn(&T) -> String) -> Page<V> {
    let has_more = found.len() > size;
    found.truncate(size);
    Page {
        next_cursor: found.last().filter(|_| has_more).map(place),
        items: found.into_iter().map(V::from).collect(),
    }
}

fn event_type(name: &str) -> Result<EventType, Problem> {
    EventType::from_name(name).ok_or_else(|| {
        Problem::invalid(
            "type",
            "not an event type, such as DEVICE_OFFLINE, or device.… for a device's own",
        )
    })
}

fn moment(parameter: &'static str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse_rfc3339(text).map_err(|error| Problem::invalid(parameter, error.to_string()))
}

fn check_range(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), Problem> {
    let Some((from, to)) = from.zip(to) else {
        return Ok(());
    };
    if to <= from {
        return Err(Problem::invalid("to", "must be after 'from'"));
    }
    if to.since(from).as_secs() > RANGE_MAX_DAYS * 86_400 {
        let rule = format!("must be at most {RANGE_MAX_DAYS} days after 'from'");
        return Err(Problem::invalid("to", rule));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
