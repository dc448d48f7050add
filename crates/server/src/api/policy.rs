//! What each request needs its caller to be allowed. Pure, and closed: what is
//! not named here needs an administrator.

use axum::http::Method;
use dormouse_core::access::Permission::{self, Administer, Control, Manage, Read};

/// Where the permission must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'p> {
    /// Anywhere: it is about the caller alone.
    Own,
    /// Somewhere: the handler narrows to what the caller covers.
    Somewhere,
    /// Where this device is.
    Device(&'p str),
    /// On the whole site.
    Site,
}

/// The permission and place that a request needs; `path` follows `/api/v1/`.
pub(super) fn requirement<'p>(method: &Method, path: &'p str) -> (Permission, Place<'p>) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    match segments.as_slice() {
        ["session", ..] => (Read, Place::Own),
        ["devices" | "devices.csv"] if reads => (Read, Place::Somewhere),
        ["devices" | "devices.csv"] => (Manage, Place::Somewhere),
        ["devices", id, ..] if reads => (Read, Place::Device(id)),
        ["devices", id, "sockets", _, "commands"] => (Control, Place::Device(id)),
        ["devices", id, ..] => (Manage, Place::Device(id)),
        ["commands" | "batches", ..] if !reads => (Control, Place::Site),
        ["users" | "tokens" | "audit" | "enrolment" | "nodes", ..] => (Administer, Place::Site),
        _ if reads => (Read, Place::Site),
        _ => (Administer, Place::Site),
    }
}

/// Asked by machines that watch the process.
pub(super) const PROBES: [&str; 3] = ["/health", "/livez", "/readyz"];

/// Whether nobody needs to be signed in.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "session" => *method == Method::POST,
        "setup" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_needs_what_it_does() {
        for (method, path, permission, place) in [
            (Method::GET, "session", Read, Place::Own),
            (Method::POST, "session/password", Read, Place::Own),
            (Method::GET, "devices", Read, Place::Somewhere),
            (Method::POST, "devices", Manage, Place::Somewhere),
            (Method::POST, "devices.csv", Manage, Place::Somewhere),
            (Method::GET, "devices/A-1", Read, Place::Device("A-1")),
            (
                Method::HEAD,
                "devices/A-1/history",
                Read,
                Place::Device("A-1"),
            ),
            (Method::PATCH, "devices/A-1", Manage, Place::Device("A-1")),
            (
                Method::POST,
                "devices/A-1/credentials",
                Manage,
                Place::Device("A-1"),
            ),
            (
                Method::POST,
                "devices/A-1/sockets/2/commands",
                Control,
                Place::Device("A-1"),
            ),
            (
                Method::GET,
                "devices/A-1/commands",
                Read,
                Place::Device("A-1"),
            ),
            (Method::GET, "commands/x", Read, Place::Site),
            (Method::DELETE, "commands/x", Control, Place::Site),
            (Method::POST, "batches", Control, Place::Site),
            (Method::GET, "users", Administer, Place::Site),
            (Method::GET, "tokens", Administer, Place::Site),
            (Method::GET, "audit", Administer, Place::Site),
            (Method::GET, "enrolment", Administer, Place::Site),
            (Method::GET, "events", Read, Place::Site),
            (Method::GET, "live", Read, Place::Site),
            (Method::POST, "anything/new", Administer, Place::Site),
            (Method::DELETE, "devices", Manage, Place::Somewhere),
        ] {
            assert_eq!(
                requirement(&method, path),
                (permission, place),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn only_signing_in_is_open() {
        assert!(is_open(&Method::POST, "session"));
        assert!(is_open(&Method::GET, "setup"));
        for (method, path) in [
            (Method::GET, "session"),
            (Method::DELETE, "session"),
            (Method::POST, "session/"),
            (Method::POST, "session/password"),
            (Method::POST, "setup/x"),
            (Method::GET, "devices"),
            (Method::GET, ""),
        ] {
            assert!(!is_open(&method, path), "{method} {path}");
        }
    }
}
