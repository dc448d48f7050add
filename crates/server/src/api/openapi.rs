//! The API's document and its interactive page.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, Info, License, OpenApi, RefOr, SecurityRequirement};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::error::PROBLEM_JSON;

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
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            // Unlike the handlers' own names, these are unique, which
            // generators of clients rely on.
            operation.operation_id = Some(operation_id(method, path));
            declare_problems(operation);
        }
    }
    document.security = Some(vec![
        SecurityRequirement::new("token", Vec::<String>::new()),
        SecurityRequirement::new("session", Vec::<String>::new()),
    ]);
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let operations = [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("patch", &mut item.patch),
        ("delete", &mut item.delete),
    ];
    let there = |(method, operation)| Option::as_mut(operation).map(|it| (method, it));
    operations.into_iter().filter_map(there)
}

/// Says of each failure's body what it is sent as.
fn declare_problems(operation: &mut Operation) {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let content = std::mem::take(&mut response.content).into_iter();
            response.content = content
                .map(|(kind, content)| {
                    let kind = if is_problem(&content) {
                        PROBLEM_JSON.to_owned()
                    } else {
                        kind
                    };
                    (kind, content)
                })
                .collect();
        }
    }
}

fn is_problem(content: &RefOr<Content>) -> bool {
    let RefOr::T(content) = content else {
        return false;
    };
    matches!(&content.schema, Some(RefOr::Ref(it)) if it.ref_location.ends_with("/Problem"))
}

/// `get` of `/api/v1/devices/{deviceId}/history` is `getDevicesDeviceIdHistory`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api/v1").unwrap_or(path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    words.fold(method.to_owned(), |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_named_by_method_and_path() {
        for (method, path, name) in [
            ("get", "/api/v1/devices", "getDevices"),
            ("get", "/api/v1/devices.csv", "getDevicesCsv"),
            (
                "patch",
                "/api/v1/devices/{deviceId}",
                "patchDevicesDeviceId",
            ),
            ("get", "/health", "getHealth"),
        ] {
            assert_eq!(operation_id(method, path), name);
        }
    }
}
