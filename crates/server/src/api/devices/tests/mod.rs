mod csv;

use axum::http::{Method, header};
use dormouse_core::access::Role;
use dormouse_core::acl::Standing;
use dormouse_core::ports::KickReason;
use serde_json::{Value, json};

use crate::api::testing::Site;

async fn add(site: &Site, id: &str) -> Value {
    site.post("devices", json!({ "deviceId": id }))
        .await
        .expect(201)
}

#[tokio::test]
async fn an_added_device_is_shown_and_signs_in_with_its_credentials() {
    let site = Site::new().await;
    let body = json!({"deviceId": "A-302-strip01", "name": "Desk", "sockets": 2, "periodS": 5});
    let answer = site.post("devices", body).await;
    let added = answer.expect(201);
    assert_eq!(answer.headers[header::ETAG], "\"1\"");
    assert_eq!(added["location"], "A/3/302", "suggested by the id");
    let password = added["credentials"]["password"].as_str().unwrap();
    assert_eq!(added["credentials"]["username"], "A-302-strip01");
    assert_eq!(password.len(), 24);

    let mut shown = site.get("devices/A-302-strip01").await.expect(200);
    assert_eq!(shown["presence"]["state"], "never");
    assert_eq!(
        shown["sockets"][1],
        json!({"socketId": 2, "on": null, "changedAt": null, "origin": null})
    );
    assert_eq!(shown["periodS"], 5);
    let mut without = added.clone();
    without.as_object_mut().unwrap().remove("credentials");
    assert_eq!(shown.take(), without, "and the password is shown once only");

    let identity = site
        .registry
        .authenticate("A-302-strip01", password.as_bytes(), None);
    assert_eq!(identity.await.unwrap().standing, Standing::Active);
    let wrong = site.registry.authenticate("A-302-strip01", b"wrong", None);
    assert!(wrong.await.is_err());
}

#[tokio::test]
async fn bad_devices_are_refused_by_field() {
    let site = Site::new().await;
    for (body, pointer) in [
        (json!({}), "/deviceId"),
        (json!({"deviceId": "a/b"}), "/deviceId"),
        (json!({"deviceId": 7}), "/deviceId"),
        (json!({"deviceId": "x".repeat(33)}), "/deviceId"),
        (json!({"deviceId": "a", "colour": "red"}), "/colour"),
        (json!({"deviceId": "a", "sockets": 33}), "/sockets"),
        (json!({"deviceId": "a", "sockets": 300}), "/sockets"),
        (json!({"deviceId": "a", "sockets": 0}), "/sockets"),
        (json!({"deviceId": "a", "periodS": 0}), "/periodS"),
        (json!({"deviceId": "a", "name": "x".repeat(65)}), "/name"),
        (json!({"deviceId": "a", "name": "a\u{0}b"}), "/name"),
        (json!({"deviceId": "a", "location": "A//3"}), "/location"),
    ] {
        let answer = site.post("devices", body.clone()).await;
        let problem = answer.expect_problem(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    add(&site, "a").await;
    let twice = site.post("devices", json!({ "deviceId": "a" })).await;
    twice.expect_problem(409, "device-exists");
    let list = site.get("devices").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn malformed_bodies_and_kinds_are_refused() {
    let site = Site::new().await;
    let bearer = format!("Bearer {}", site.token);
    let auth = ("authorization", bearer.as_str());
    let malformed = site
        .send(Method::POST, "devices", &[auth], "{".to_owned())
        .await;
    malformed.expect_problem(400, "malformed-json");
    let kind = [auth, ("content-type", "text/plain")];
    let plain = site
        .send(Method::POST, "devices", &kind, "{}".to_owned())
        .await;
    plain.expect_problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn lists_come_in_pages_in_order_of_ids() {
    let site = Site::new().await;
    for id in ["c", "A-302-x", "b", "A-401-y", "a"] {
        add(&site, id).await;
    }
    let mut path = "devices?limit=2".to_owned();
    let mut ids = Vec::new();
    loop {
        let page = site.get(&path).await.expect(200);
        for item in page["items"].as_array().unwrap() {
            ids.push(item["deviceId"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("devices?limit=2&cursor={cursor}");
    }
    assert_eq!(ids, ["A-302-x", "A-401-y", "a", "b", "c"]);

    let count = async |query: &str| {
        let page = site.get(&format!("devices?{query}")).await.expect(200);
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(count("location=A").await, 2);
    assert_eq!(count("location=A/3").await, 1);
    assert_eq!(count("q=STRIP").await, 0);
    assert_eq!(count("q=a-3").await, 1);
    assert_eq!(count("state=pending").await, 0);
    assert_eq!(count("presence=never").await, 5);
    assert_eq!(count("presence=online").await, 0);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=InhZIi8i", "cursor"),
        ("state=gone", "state"),
        ("presence=maybe", "presence"),
    ] {
        let answer = site.get(&format!("devices?{query}")).await;
        let problem = answer.expect_problem(422, "invalid-request");
        assert_eq!(problem["errors"][0]["pointer"], parameter, "{query}");
    }
    let unknown = site.get("devices?colour=red").await;
    assert!(
        unknown.expect_problem(422, "invalid-request")["detail"]
            .as_str()
            .unwrap()
            .contains("colour")
    );
}

#[tokio::test]
async fn an_edit_needs_the_version_it_was_made_for() {
    let site = Site::new().await;
    add(&site, "a").await;
    let bearer = format!("Bearer {}", site.token);
    let edit = async |tag: &str, body: Value| {
        let headers = [("authorization", bearer.as_str()), ("if-match", tag)];
        site.send(Method::PATCH, "devices/a", &headers, body.to_string())
            .await
    };
    let first = edit("\"1\"", json!({"name": "Desk", "sockets": 4})).await;
    assert_eq!(first.expect(200)["version"], 2);
    assert_eq!(first.headers[header::ETAG], "\"2\"");
    edit("\"1\"", json!({"name": "Shelf"}))
        .await
        .expect_problem(412, "stale-version");
    edit("two", json!({"name": "Shelf"}))
        .await
        .expect_invalid("If-Match");
    let cleared = edit("*", json!({"sockets": null})).await.expect(200);
    assert_eq!(cleared["sockets"], json!([]));
    assert_eq!(cleared["name"], "Desk");
    for (body, pointer) in [
        (json!({"name": null}), "/name"),
        (json!({"deviceId": "b"}), "/deviceId"),
        (json!({"location": "/"}), "/location"),
        (json!({"sockets": "four"}), "/sockets"),
    ] {
        edit("*", body).await.expect_invalid(pointer);
    }
    site.patch("devices/none", json!({}))
        .await
        .expect_problem(404, "not-found");
    site.patch("devices/a%20b", json!({}))
        .await
        .expect_invalid("deviceId");
}

#[tokio::test]
async fn deleting_ends_the_session_and_frees_the_id() {
    let site = Site::new().await;
    let added = add(&site, "a").await;
    let old = added["credentials"]["password"]
        .as_str()
        .unwrap()
        .as_bytes()
        .to_vec();
    site.delete("devices/a").await.expect(204);
    let id = super::parse_id("a").unwrap();
    let kicked = site.broker.kicked.lock().unwrap().clone();
    assert_eq!(kicked, [(id, KickReason::Deleted)]);
    site.get("devices/a").await.expect_problem(404, "not-found");
    site.delete("devices/a")
        .await
        .expect_problem(404, "not-found");
    assert!(site.registry.authenticate("a", &old, None).await.is_err());
    add(&site, "a").await;
    assert!(site.registry.authenticate("a", &old, None).await.is_err());
}

#[tokio::test]
async fn new_credentials_replace_the_old_ones_at_once() {
    let site = Site::new().await;
    let added = add(&site, "a").await;
    let old = added["credentials"]["password"].as_str().unwrap();
    let rotated = site
        .post("devices/a/credentials", Value::Null)
        .await
        .expect(200);
    let new = rotated["credentials"]["password"].as_str().unwrap();
    let signs_in = async |password: &str| {
        let outcome = site.registry.authenticate("a", password.as_bytes(), None);
        outcome.await.is_ok()
    };
    assert!(signs_in(new).await && !signs_in(old).await);
    assert_eq!(
        site.broker.kicked.lock().unwrap()[0].1,
        KickReason::CredentialsChanged
    );
    site.delete("devices/a/credentials").await.expect(204);
    assert!(!signs_in(new).await);
    assert_eq!(
        site.get("devices/a").await.expect(200)["hasCredentials"],
        false
    );
    let none = site.post("devices/none/credentials", Value::Null).await;
    none.expect_problem(404, "not-found");
}

#[tokio::test]
async fn others_get_what_their_role_and_place_allow() {
    let site = Site::new().await;
    for id in ["A-302-x", "A-401-y"] {
        add(&site, id).await;
    }
    let viewer = site.token_of(Role::Viewer, "").await;
    let manager = site.token_of(Role::Manager, "A/3").await;
    let ask = async |token: &str, method: Method, path: &str, body: Value| {
        site.send_as(token, method, path, body).await
    };
    ask(&viewer, Method::GET, "devices/A-401-y", Value::Null)
        .await
        .expect(200);
    for (method, path) in [
        (Method::POST, "devices"),
        (Method::PATCH, "devices/A-401-y"),
        (Method::DELETE, "devices/A-401-y"),
        (Method::POST, "devices/A-401-y/credentials"),
        (Method::GET, "users"),
        (Method::GET, "tokens"),
        (Method::GET, "audit"),
        (Method::GET, "enrolment"),
        (Method::POST, "nothing/here"),
    ] {
        let answer = ask(&viewer, method, path, json!({})).await;
        answer.expect_problem(403, "forbidden");
    }

    let seen = ask(&manager, Method::GET, "devices", Value::Null)
        .await
        .expect(200);
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    let edit = |path: &'static str, body| ask(&manager, Method::PATCH, path, body);
    edit("devices/A-302-x", json!({"name": "Desk"}))
        .await
        .expect(200);
    edit("devices/A-401-y", json!({"name": "Desk"}))
        .await
        .expect_problem(404, "not-found");
    let away = edit("devices/A-302-x", json!({"location": "B/1"})).await;
    away.expect_problem(403, "forbidden");
    let outside = ask(
        &manager,
        Method::POST,
        "devices",
        json!({"deviceId": "B-101-z"}),
    )
    .await;
    outside.expect_problem(403, "forbidden");
    let inside = ask(
        &manager,
        Method::POST,
        "devices",
        json!({"deviceId": "A-303-z"}),
    )
    .await;
    inside.expect(201);
    ask(&manager, Method::GET, "events", Value::Null)
        .await
        .expect_problem(403, "forbidden");
}
