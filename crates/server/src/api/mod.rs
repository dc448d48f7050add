//! The HTTP face of the platform. Handlers parse, call one service, and shape
//! the answer; no SQL here.
//!
//! Each module has `pub fn router(state: …) -> OpenApiRouter`: it closes over
//! the services it needs, so that the modules do not know of each other.

pub mod audit;
pub mod auth;
pub mod commands;
pub mod devices;
pub mod enrolment;
mod error;
pub mod etag;
pub mod events;
mod extract;
pub mod health;
pub mod history;
pub mod layers;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod nodes;
pub mod openapi;
#[cfg(test)]
mod people_tests;
mod policy;
mod process;
pub mod retention;
pub mod session;
pub mod share;
pub mod stats;
pub mod stats_fleet;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod testing;
mod times;
pub mod tokens;
pub mod users;
pub mod web;

pub use error::{FieldError, Problem, ProblemBody};
pub use extract::{
    ApiJson, ApiPath, ApiQuery, Caller, PAGE_DEFAULT, PAGE_MAX, Page, decode_cursor, encode_cursor,
    page_size,
};

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Joins the modules' routers, those of `versioned` under `/api/v1`, and
/// collects their document.
pub fn compose(
    plain: impl IntoIterator<Item = OpenApiRouter>,
    versioned: impl IntoIterator<Item = OpenApiRouter>,
) -> (Router, OpenApi) {
    let join = |modules: OpenApiRouter, module| modules.merge(module);
    let versioned = versioned.into_iter().fold(OpenApiRouter::new(), join);
    plain
        .into_iter()
        .fold(OpenApiRouter::new(), join)
        .nest("/api/v1", versioned)
        .split_for_parts()
}
