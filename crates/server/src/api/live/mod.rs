//! `GET /live`: the WebSocket.

mod connection;
mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::StatusCode;
use axum::response::Response;
use dormouse_core::live::{LiveHub, LiveMessage, TooManyWatchers};
use dormouse_core::services::access::{Access, Principal};
use dormouse_core::services::fleet::Fleet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::By;
use super::{Problem, ProblemBody};
use connection::Connection;
use request::Subscribe;

/// How often watchers of the fleet are told its totals, where these changed.
const TOTALS_EVERY: Duration = Duration::from_secs(1);
/// Every so many of these ticks are kept for the curve of the last half hour.
const CURVE_TICKS: u64 = 5;

/// Whether whoever opened a connection may keep it.
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Whether `principal`'s session or token still holds. Where nobody can
    /// tell now, it does.
    async fn still_holds(&self, principal: &Principal) -> bool;
}

#[async_trait]
impl Gate for Access {
    async fn still_holds(&self, principal: &Principal) -> bool {
        Self::still_holds(self, principal).await.unwrap_or(true)
    }
}

/// What connections work with.
#[derive(Clone)]
pub struct Live {
    /// Who watches what.
    pub hub: Arc<LiveHub>,
    /// What a snapshot shows.
    pub fleet: Arc<Fleet>,
    /// Whether their callers may keep them.
    pub gate: Arc<dyn Gate>,
    /// Tells connections to close.
    pub stop: CancellationToken,
    /// Counts connections, so that stopping can wait for them.
    pub connections: TaskTracker,
}

impl Live {
    /// Connections end when `stop` fires.
    #[must_use]
    pub fn new(
        hub: Arc<LiveHub>,
        fleet: Arc<Fleet>,
        gate: Arc<dyn Gate>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            hub,
            fleet,
            gate,
            stop,
            connections: TaskTracker::new(),
        }
    }

    /// Tells watchers of the fleet its totals, and keeps their curve, until
    /// the server stops; then waits for all connections to close.
    ///
    /// # Errors
    /// Never.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TOTALS_EVERY);
        let mut told = None;
        let mut ticks = 0_u64;
        while self.stop.run_until_cancelled(tick.tick()).await.is_some() {
            let kept = ticks.is_multiple_of(CURVE_TICKS);
            ticks += 1;
            let watched = self.hub.wants_fleet();
            if !watched {
                told = None;
            }
            if !watched && !kept {
                continue;
            }
            let totals = self.fleet.totals().await;
            if kept {
                self.fleet.remember(&totals);
            }
            if watched && told.replace(totals) != Some(totals) {
                self.hub.publish(&LiveMessage::Fleet(totals));
            }
        }
        self.connections.close();
        self.connections.wait().await;
        Ok(())
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// The route.
pub fn router(live: Live) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(watch)).with_state(live)
}

/// A WebSocket of changes as they happen.
///
/// Send a `Subscribe` message; receive a `snapshot`, then changes, each a
/// `LiveMessage` in a text frame of its own. A later `Subscribe` takes the
/// place of the earlier one. A reader that is too slow gets the newest state
/// of each device rather than every step, and a new `snapshot` after any gap.
#[utoipa::path(get, path = "/live", tag = "live",
    responses(
        (status = 101, description = "Frames in this form follow", body = LiveMessage),
        (status = 400, description = "No WebSocket handshake", body = ProblemBody),
        (status = 401, description = "Not signed in", body = ProblemBody),
        (status = 503, description = "Too many connections", body = ProblemBody),
    ),
    request_body(content = Subscribe, description = "Not part of the request: a frame to send once connected"),
)]
async fn watch(
    by: By,
    State(live): State<Live>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| not_a_handshake(&rejection))?;
    let subscription = live.hub.watch()?;
    let connections = live.connections.clone();
    let upgrade = upgrade
        .max_message_size(request::SIZE_MAX)
        .max_frame_size(request::SIZE_MAX)
        .max_write_buffer_size(connection::BUFFER_MAX);
    Ok(upgrade.on_upgrade(move |socket| {
        connections.track_future(Connection::new(live, by.principal, subscription).run(socket))
    }))
}

fn not_a_handshake(rejection: &WebSocketUpgradeRejection) -> Problem {
    Problem::client(
        StatusCode::BAD_REQUEST,
        "/problems/not-a-websocket",
        "Not a WebSocket handshake",
        rejection.body_text(),
    )
}

impl From<TooManyWatchers> for Problem {
    fn from(error: TooManyWatchers) -> Self {
        Self::client(
            StatusCode::SERVICE_UNAVAILABLE,
            "/problems/too-many-watchers",
            "Too many live connections",
            error.to_string(),
        )
        .retry_after(10)
    }
}
