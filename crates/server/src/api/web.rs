//! The page, embedded in the binary.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::error::Problem;

/// A build without Node still compiles and says how to get the page.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../web/dist"]
#[allow_missing = true]
struct Assets;

const INDEX: &str = "index.html";
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Dormouse</title>\
<p>The page was not built into this binary. Run <code>make web</code> and build again. \
The API is at <a href=/api/docs>/api/docs</a>.";

/// Serves an asset, or the page itself for the paths that the page routes.
pub async fn page(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path == "api" || path.starts_with("api/") {
        return Problem::not_found(format!("there is nothing at /{path}")).into_response();
    }
    if !matches!(method, Method::GET | Method::HEAD) {
        return Problem::client(
            StatusCode::METHOD_NOT_ALLOWED,
            "/problems/method-not-allowed",
            "Method not allowed",
            "only GET and HEAD work here",
        )
        .into_response();
    }
    if let Some(file) = Assets::get(path).filter(|_| path != INDEX) {
        return serve(path, file, &headers);
    }
    // A missing script must not become HTML; the page's own routes may hold dots: device ids do.
    if path.starts_with("assets/") {
        return Problem::not_found(format!("there is nothing at /{path}")).into_response();
    }
    match Assets::get(INDEX) {
        Some(file) => serve(INDEX, file, &headers),
        None => (
            [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
            NOT_BUILT,
        )
            .into_response(),
    }
}

fn serve(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = etag(&file);
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let known = headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == etag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = file.metadata.mimetype().to_owned();
        let mut response = Body::from(file.data).into_response();
        if let Ok(kind) = HeaderValue::from_str(&kind) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    };
    let out = response.headers_mut();
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        out.insert(header::ETAG, etag);
    }
    response
}

fn etag(file: &EmbeddedFile) -> String {
    use std::fmt::Write as _;

    let mut text = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..12] {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str) -> Response {
        page(Method::GET, path.parse().unwrap(), HeaderMap::new()).await
    }

    #[tokio::test]
    async fn the_pages_own_routes_get_the_page_and_nothing_else_does() {
        for path in ["/", "/devices/A-302", "/devices/A.302", "/setup"] {
            let response = get(path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            let kind = &response.headers()[header::CONTENT_TYPE];
            assert!(kind.to_str().unwrap().starts_with("text/html"), "{path}");
        }
        for path in ["/api/v1/nothing", "/assets/gone.js", "/api"] {
            assert_eq!(get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
