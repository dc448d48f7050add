//! The HTTP face of the platform. Handlers parse, call one service, and shape
//! the answer; no SQL here.
//!
//! Each module has `pub fn router(state: …) -> OpenApiRouter`: it closes over
//! the services it needs, so that the modules do not know of each other.

pub mod commands;
mod error;
pub mod events;
mod extract;
pub mod health;
pub mod layers;
pub mod limits;
pub mod live;
pub mod metrics;
pub mod openapi;
pub mod stats_fleet;
pub mod telemetry;
pub mod web;

pub use error::{FieldError, Problem, ProblemBody};
pub use extract::{
    ApiJson, ApiPath, ApiQuery, Caller, PAGE_DEFAULT, PAGE_MAX, Page, decode_cursor, encode_cursor,
    page_size,
};

use axum::Router;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// Joins the modules' routers under `/api/v1` and collects their document.
pub fn compose(modules: impl IntoIterator<Item = OpenApiRouter>) -> (Router, OpenApi) {
    let versioned = modules
        .into_iter()
        .fold(OpenApiRouter::new(), OpenApiRouter::merge);
    OpenApiRouter::new()
        .nest("/api/v1", versioned)
        .split_for_parts()
}
