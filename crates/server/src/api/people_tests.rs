//! Sessions, people, tokens and the audit log through the API.

use axum::http::{Method, header};
use dormouse_core::access::Role;
use serde_json::{Value, json};

use super::testing::{Answer, PASSWORD, Site};

/// A browser that signed in.
struct Browser {
    cookie: String,
    csrf: String,
}

fn browser(answer: &Answer, status: u16) -> Browser {
    let body = answer.expect(status);
    let header = answer.headers[header::SET_COOKIE].to_str().unwrap();
    Browser {
        cookie: header.split(';').next().unwrap().to_owned(),
        csrf: body["csrfToken"].as_str().unwrap().to_owned(),
    }
}

async fn sign_in(site: &Site, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password}).to_string();
    site.send(Method::POST, "session", &[], body).await
}

impl Browser {
    async fn send(&self, site: &Site, method: Method, path: &str, body: Value) -> Answer {
        let headers = [
            ("cookie", self.cookie.as_str()),
            ("x-csrf-token", self.csrf.as_str()),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        site.send(method, path, &headers, body).await
    }

    async fn get(&self, site: &Site, path: &str) -> Answer {
        let headers = [("cookie", self.cookie.as_str())];
        site.send(Method::GET, path, &headers, String::new()).await
    }
}

#[tokio::test]
async fn nothing_but_signing_in_is_open() {
    let site = Site::new().await;
    for (method, path) in [
        (Method::GET, "session"),
        (Method::DELETE, "session"),
        (Method::GET, "devices"),
        (Method::POST, "devices"),
        (Method::GET, "devices/a"),
        (Method::GET, "users"),
        (Method::GET, "live"),
        (Method::GET, "no/such/thing"),
        (Method::GET, ""),
    ] {
        let answer = site.send(method, path, &[], String::new()).await;
        answer.expect_problem(401, "unauthenticated");
        assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer", "{path}");
    }
    for bad in ["Bearer dmt_wrong", "Bearer", "Basic YTpi", "bearer  "] {
        let headers = [("authorization", bad)];
        let answer = site
            .send(Method::GET, "devices", &headers, String::new())
            .await;
        answer.expect_problem(401, "unauthenticated");
    }
    let headers = [("cookie", "dormouse_session=wrong")];
    let answer = site
        .send(Method::GET, "devices", &headers, String::new())
        .await;
    answer.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_first_start_makes_an_administrator_once() {
    let site = Site::new().await;
    let needed = site.send(Method::GET, "setup", &[], String::new()).await;
    assert_eq!(needed.expect(200)["needed"], true);
    let link = site.access.open_setup().await.unwrap().unwrap();
    let setup = async |token: &str, password: &str| {
        let body = json!({"token": token, "username": "ann", "password": password});
        site.send(Method::POST, "setup", &[], body.to_string())
            .await
    };
    setup("guess", PASSWORD)
        .await
        .expect_problem(403, "bad-setup-link");
    setup(link.expose(), "short")
        .await
        .expect_invalid("/password");
    let answer = setup(link.expose(), PASSWORD).await;
    let ann = browser(&answer, 201);
    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let who = ann.get(&site, "session").await.expect(200);
    assert_eq!(
        (&who["username"], &who["role"]),
        (&json!("ann"), &json!("admin"))
    );
    assert_eq!(who["csrfToken"], ann.csrf);
    setup(link.expose(), PASSWORD)
        .await
        .expect_problem(409, "setup-done");
    let needed = site.send(Method::GET, "setup", &[], String::new()).await;
    assert_eq!(needed.expect(200)["needed"], false);
}

#[tokio::test]
async fn changes_by_cookie_need_the_sessions_token() {
    let site = Site::new().await;
    site.person("ann", Role::Admin).await;
    let ann = browser(&sign_in(&site, "ann", PASSWORD).await, 200);
    let device = json!({"deviceId": "a"}).to_string();
    for csrf in [None, Some(""), Some("guess")] {
        let mut headers = vec![("cookie", ann.cookie.as_str())];
        headers.extend(csrf.map(|csrf| ("x-csrf-token", csrf)));
        let forged = site
            .send(Method::POST, "devices", &headers, device.clone())
            .await;
        forged.expect_problem(403, "csrf");
    }
    let fine = ann
        .send(&site, Method::POST, "devices", json!({"deviceId": "a"}))
        .await;
    fine.expect(201);

    let live = async |origin: &str| {
        let headers = [
            ("cookie", ann.cookie.as_str()),
            ("upgrade", "websocket"),
            ("host", "site.example"),
            ("origin", origin),
        ];
        site.send(Method::GET, "live", &headers, String::new())
            .await
    };
    live("https://evil.example")
        .await
        .expect_problem(403, "csrf");
    assert_eq!(
        live("https://site.example").await.status,
        404,
        "no such route here"
    );
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_slowed_down() {
    let site = Site::new().await;
    site.person("ann", Role::Admin).await;
    for _ in 0..10 {
        sign_in(&site, "ann", "wrong")
            .await
            .expect_problem(401, "bad-credentials");
    }
    let slowed = sign_in(&site, "ann", PASSWORD).await;
    slowed.expect_problem(429, "too-many-attempts");
    assert_eq!(slowed.headers[header::RETRY_AFTER], "6");
    for body in [
        "{}",
        "[]",
        r#"{"username":"a"}"#,
        r#"{"username":1,"password":"x"}"#,
    ] {
        let answer = site
            .send(Method::POST, "session", &[], body.to_owned())
            .await;
        answer.expect_problem(422, "invalid-request");
    }
}

#[tokio::test]
async fn signing_out_and_changing_the_password_end_sessions() {
    let site = Site::new().await;
    site.person("ann", Role::Viewer).await;
    let one = browser(&sign_in(&site, "ann", PASSWORD).await, 200);
    let two = browser(&sign_in(&site, "ann", PASSWORD).await, 200);
    one.send(&site, Method::DELETE, "session", Value::Null)
        .await
        .expect(204);
    one.get(&site, "session")
        .await
        .expect_problem(401, "unauthenticated");

    let three = browser(&sign_in(&site, "ann", PASSWORD).await, 200);
    let change = |current: &str, new: &str| {
        let body = json!({"currentPassword": current, "newPassword": new});
        let two = &two;
        let site = &site;
        async move { two.send(site, Method::POST, "session/password", body).await }
    };
    change("wrong", "battery staple")
        .await
        .expect_invalid("/currentPassword");
    change(PASSWORD, "short")
        .await
        .expect_invalid("/newPassword");
    let changed = change(PASSWORD, "battery staple").await;
    changed.expect(204);
    let renewed = Browser {
        cookie: {
            let header = changed.headers[header::SET_COOKIE].to_str().unwrap();
            header.split(';').next().unwrap().to_owned()
        },
        csrf: two.csrf.clone(),
    };
    renewed.get(&site, "session").await.expect(200);
    three
        .get(&site, "session")
        .await
        .expect_problem(401, "unauthenticated");
    sign_in(&site, "ann", PASSWORD)
        .await
        .expect_problem(401, "bad-credentials");
    let body = json!({"currentPassword": PASSWORD, "newPassword": "battery staple"});
    let by_token = site.post("session/password", body).await;
    by_token.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn people_are_added_edited_and_removed() {
    let site = Site::new().await;
    let new =
        |name: &str, role: &str| json!({"username": name, "password": PASSWORD, "role": role});
    let ann = site.post("users", new("ann", "admin")).await;
    let body = ann.expect(201);
    assert!(!ann.text.contains("argon2") && body.get("password").is_none());
    site.post("users", new("ANN", "viewer"))
        .await
        .expect_problem(409, "name-taken");
    site.post("users", new("bob", "king"))
        .await
        .expect_invalid("/role");
    site.post("users", new(" bob", "viewer"))
        .await
        .expect_invalid("/username");
    let mut bad = new("bob", "viewer");
    bad["scope"] = json!("A//3");
    site.post("users", bad).await.expect_invalid("/scope");
    site.post("users", new("bob", "viewer")).await.expect(201);

    let names: Vec<_> = site.get("users").await.expect(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["username"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["ann", "bob"]);
    let last = site.patch("users/ann", json!({"role": "viewer"})).await;
    last.expect_problem(409, "last-administrator");
    site.delete("users/ann")
        .await
        .expect_problem(409, "last-administrator");
    let bob = browser(&sign_in(&site, "bob", PASSWORD).await, 200);
    let sessions = site.get("users/bob/sessions").await.expect(200);
    assert_eq!(sessions["items"].as_array().unwrap().len(), 1);
    let edited = site
        .patch("users/bob", json!({"role": "manager", "scope": "A/3"}))
        .await;
    assert_eq!(edited.expect(200)["version"], 2);
    assert_eq!(
        bob.get(&site, "session").await.expect(200)["role"],
        "manager"
    );
    site.delete("users/bob/sessions").await.expect(204);
    bob.get(&site, "session")
        .await
        .expect_problem(401, "unauthenticated");
    site.delete("users/bob").await.expect(204);
    for path in ["users/bob", "users/bob/sessions"] {
        site.get(path).await.expect_problem(404, "not-found");
    }
    site.patch("users/bob", json!({}))
        .await
        .expect_problem(404, "not-found");
    site.delete("users/bob")
        .await
        .expect_problem(404, "not-found");
}

#[tokio::test]
async fn tokens_are_made_listed_and_taken_back() {
    let site = Site::new().await;
    let made = site
        .post("tokens", json!({"name": "grafana", "role": "viewer"}))
        .await;
    let made = made.expect(201);
    let secret = made["secret"].as_str().unwrap();
    let who = site
        .send_as(secret, Method::GET, "session", Value::Null)
        .await
        .expect(200);
    assert_eq!(
        who,
        json!({"username": "grafana", "role": "viewer", "scope": ""})
    );
    let list = site.get("tokens").await;
    assert!(!list.text.contains(secret));
    assert_eq!(list.expect(200)["items"][0]["name"], "grafana");
    for (body, pointer) in [
        (json!({"role": "viewer"}), "/name"),
        (json!({"name": "", "role": "viewer"}), "/name"),
        (
            json!({"name": "x", "role": "viewer", "expiresAt": "soon"}),
            "/expiresAt",
        ),
        (
            json!({"name": "x", "role": "viewer", "expiresAt": "2020-01-01T00:00:00Z"}),
            "/expiresAt",
        ),
        (
            json!({"name": "x", "role": "viewer", "scope": "/"}),
            "/scope",
        ),
        (
            json!({"name": "x", "role": "viewer", "colour": 1}),
            "/colour",
        ),
    ] {
        site.post("tokens", body).await.expect_invalid(pointer);
    }
    let path = format!("tokens/{}", made["id"]);
    site.delete(&path).await.expect(204);
    let gone = site
        .send_as(secret, Method::GET, "session", Value::Null)
        .await;
    gone.expect_problem(401, "unauthenticated");
    site.delete(&path).await.expect_problem(404, "not-found");
    site.delete("tokens/x")
        .await
        .expect_problem(400, "invalid-path");
}

#[tokio::test]
async fn every_change_is_in_the_audit_log() {
    let site = Site::new().await;
    site.post("devices", json!({"deviceId": "a"}))
        .await
        .expect(201);
    site.clock.advance(std::time::Duration::from_secs(1));
    site.patch("devices/a", json!({"name": "Desk"}))
        .await
        .expect(200);
    site.clock.advance(std::time::Duration::from_secs(1));
    let rotated = site
        .post("devices/a/credentials", Value::Null)
        .await
        .expect(200);
    let all = site.get("audit?target=device:a").await;
    assert!(
        !all.text
            .contains(rotated["credentials"]["password"].as_str().unwrap())
    );
    let all = all.expect(200);
    let actions: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["device.rotate", "device.edit", "device.add"]);
    assert_eq!(
        all["items"][0]["origin"],
        json!({"kind": "token", "name": "script"})
    );

    let page = site.get("audit?target=device:a&limit=2").await.expect(200);
    let cursor = page["nextCursor"].as_str().unwrap();
    let rest = site
        .get(&format!("audit?target=device:a&limit=2&cursor={cursor}"))
        .await;
    let rest = rest.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["nextCursor"], Value::Null);
    let narrowed = site
        .get("audit?action=device.edit&actor=script")
        .await
        .expect(200);
    assert_eq!(narrowed["items"].as_array().unwrap().len(), 1);
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("cursor=x", "cursor"),
        ("from=now", "from"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ] {
        site.get(&format!("audit?{query}"))
            .await
            .expect_invalid(parameter);
    }
}
