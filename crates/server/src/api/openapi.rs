//! The API's document and its interactive page.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, SecurityRequirement};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served.
pub const DOCUMENT_PATH: &str = "/api/v1/openapi.json";

/// Completes the document collected from the handlers: what it is, and how to
/// sign in.
#[must_use]
pub fn complete(mut document: OpenApi) -> OpenApi {
    document.info = Info::new("Dormouse", env!("CARGO_PKG_VERSION"));
    document.info.description = Some(
        "Fleets of smart power strips: devices, commands, telemetry, history, events. \
         Units are in the names, times are RFC 3339 in UTC, failures are problem documents \
         (RFC 9457)."
            .to_owned(),
    );
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    document.info.license = Some(license);
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "token",
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    components.add_security_scheme(
        "session",
        SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("dormouse_session"))),
    );
    document.security = Some(vec![
        SecurityRequirement::new("token", Vec::<String>::new()),
        SecurityRequirement::new("session", Vec::<String>::new()),
    ]);
    document
}

/// The document as it is kept in the repository: indented, with an end of line.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn to_text(document: &OpenApi) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(document)?;
    text.push('\n');
    Ok(text)
}

/// Serves the document at [`DOCUMENT_PATH`] and the page at `/api/docs`.
///
/// # Errors
/// When the document cannot be written as JSON.
pub fn router(document: &OpenApi) -> serde_json::Result<Router> {
    let text = Bytes::from(to_text(document)?);
    let serve = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    let page = SwaggerUi::new("/api/docs").config(Config::from(DOCUMENT_PATH));
    Ok(Router::from(page).route(DOCUMENT_PATH, get(serve)))
}
