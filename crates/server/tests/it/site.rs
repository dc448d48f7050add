//! The site around the API: documents, guards and figures.

use reqwest::{Method, StatusCode};

use crate::support::Server;

#[tokio::test]
async fn strangers_get_health_and_the_page_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let stranger = crate::support::http_client();
    for (path, expected) in [
        ("/livez", 200),
        ("/readyz", 200),
        ("/health", 200),
        ("/", 200),
        ("/api/v1/devices", 401),
        ("/api/v1/events", 401),
        ("/api/v1/incidents", 401),
        ("/api/v1/stats/fleet", 401),
        ("/api/v1/live", 401),
        ("/api/v1/nothing", 404),
        ("/api/nothing", 404),
    ] {
        let url = format!("{}{path}", server.http());
        let response = stranger.get(url).send().await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
        let headers = response.headers();
        assert!(headers.contains_key("content-security-policy"), "{path}");
        assert!(headers.contains_key("x-request-id"), "{path}");
        if expected >= 400 {
            assert_eq!(
                headers["content-type"], "application/problem+json",
                "{path}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_document_the_figures_and_the_docs_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let document = server.get("/api/v1/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/live"].is_object());
    assert!(document["components"]["schemas"]["LiveMessage"].is_object());
    let (status, page) = server.request(Method::GET, "/api/docs/", None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.as_str().unwrap().contains("swagger-ui"));
    let (status, figures) = server.request(Method::GET, "/metrics", None).await;
    assert_eq!(status, StatusCode::OK);
    let figures = figures.as_str().unwrap();
    assert!(
        figures.contains("dormouse_http_requests_total"),
        "{figures}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_page_that_refreshes_madly_is_told_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let reads = (0..200).map(|_| server.request(Method::GET, "/api/v1/stats/fleet", None));
    let answers = futures_util::future::join_all(reads).await;
    let count = |wanted: StatusCode| answers.iter().filter(|it| it.0 == wanted).count();
    let (served, refused) = (count(StatusCode::OK), count(StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(served + refused, 200);
    assert!(
        served >= 40 && refused > 0,
        "{served} served, {refused} refused"
    );
    server.stop().await;
}
