//! `/metrics` for Prometheus: the platform, and on request the fleet.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use dormouse_core::live::DeviceMessage;
use dormouse_core::presence::PresenceState;
use dormouse_core::services::fleet::Fleet;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{Caller, Problem};

/// Upper bounds of the buckets of request times, seconds.
const REQUEST_BUCKETS: [f64; 9] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0, 5.0];
/// Upper bounds of the buckets of how long batches took to commit, seconds.
const COMMIT_BUCKETS: [f64; 9] = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 3.0];

/// Brings the figures up to date just before they are told.
pub type Collector = Box<dyn Fn() + Send + Sync>;

/// What `/metrics` tells, and to whom.
pub struct Metrics {
    /// The process's figures.
    pub handle: PrometheusHandle,
    /// Asked before each answer.
    pub collectors: Vec<Collector>,
    /// The fleet, where its devices are told one by one.
    pub fleet: Arc<Fleet>,
    /// The most devices that are told; 0 for none.
    pub fleet_devices_max: usize,
    /// Whether whoever connects from this machine may ask. Not so where a
    /// proxy on this machine passes strangers on.
    pub trust_loopback: bool,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("collectors", &self.collectors.len())
            .finish_non_exhaustive()
    }
}

/// Sets up the process's figures; more calls get the same ones.
///
/// # Errors
/// When something else collects this process's figures.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Full("dormouse_http_request_seconds".to_owned()),
            &REQUEST_BUCKETS,
        )
        .and_then(|builder| {
            let commits = Matcher::Full("dormouse_intake_commit_seconds".to_owned());
            builder.set_buckets_for_metric(commits, &COMMIT_BUCKETS)
        })
        .context("setting up metrics")?
        .build_recorder();
    let handle = HANDLE.get_or_init(|| recorder.handle()).clone();
    // Whoever comes second at the same moment finds the first one's handle.
    metrics::set_global_recorder(recorder).ok();
    Ok(handle)
}

/// The route, to be served beside `/api/v1`.
pub fn router(metrics: Metrics) -> Router {
    Router::new()
        .route("/metrics", get(tell))
        .with_state(Arc::new(metrics))
}

async fn tell(State(metrics): State<Arc<Metrics>>, request: Request) -> Response {
    let is_known = request.extensions().get::<Caller>().is_some();
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let is_local = metrics.trust_loopback
        && peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback())
        && !is_forwarded(request.headers());
    if !is_known && !is_local {
        return refused().into_response();
    }
    for collect in &metrics.collectors {
        collect();
    }
    metrics.handle.run_upkeep();
    let mut text = metrics.handle.render();
    super::process::add_process(&mut text);
    if metrics.fleet_devices_max > 0 {
        let devices = metrics.fleet.first(metrics.fleet_devices_max).await;
        add_fleet(&mut text, &devices);
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

fn refused() -> Problem {
    Problem::client(
        StatusCode::UNAUTHORIZED,
        "/problems/unauthenticated",
        "Sign-in needed",
        "metrics are for this machine, or with 'Authorization: Bearer TOKEN'",
    )
}

/// Device ids need no escaping: they hold no quotes and no backslashes.
fn add_fleet(text: &mut String, devices: &[DeviceMessage]) {
    text.push_str("# TYPE dormouse_device_online gauge\n");
    for device in devices {
        let online = u8::from(device.presence.state == PresenceState::Online);
        let id = &device.device_id;
        writeln!(text, "dormouse_device_online{{device=\"{id}\"}} {online}").ok();
    }
    text.push_str("# TYPE dormouse_device_power_watts gauge\n");
    for device in devices {
        let power = device.latest.as_ref().and_then(|it| it.totals.power_w);
        if let Some(power) = power {
            let id = &device.device_id;
            writeln!(
                text,
                "dormouse_device_power_watts{{device=\"{id}\"}} {power}"
            )
            .ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    header::HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn whoever_a_proxy_passes_on_is_not_local() {
        assert!(!is_forwarded(&asked(&[("accept", "*/*")])));
        assert!(is_forwarded(&asked(&[("x-forwarded-for", "10.0.0.9")])));
        assert!(is_forwarded(&asked(&[("forwarded", "for=10.0.0.9")])));
    }

    #[test]
    fn the_figures_are_set_up_once() {
        install().unwrap();
        let handle = install().unwrap();
        metrics::counter!("dormouse_test_total").increment(2);
        assert!(handle.render().contains("dormouse_test_total 2"));
    }
}
