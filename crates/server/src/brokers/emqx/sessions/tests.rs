//! Against a recorded EMQX 5.8.9: what it was seen to answer, request by request.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use dormouse_core::clock::ManualClock;
use dormouse_core::device::{DeviceSettings, DeviceState};
use dormouse_core::health::{HealthRegistry, PartState, Serves};
use dormouse_core::ids::DeviceKey;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::super::{ApiSettings, api::base};
use super::*;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    method: Method,
    /// Path and query, as sent.
    target: String,
    body: Value,
}

fn asked(method: Method, target: &str, body: Value) -> Asked {
    Asked {
        method,
        target: target.to_owned(),
        body,
    }
}

#[derive(Debug, Default)]
struct Fake {
    asked: Mutex<Vec<Asked>>,
    /// What it answers next, before its ordinary answers.
    failures: Mutex<VecDeque<StatusCode>>,
    news: Notify,
}

impl Fake {
    /// Waits until `count` requests came.
    async fn heard(&self, count: usize) -> Vec<Asked> {
        let all = async {
            loop {
                let news = self.news.notified();
                let asked = self.asked.lock().unwrap().clone();
                if asked.len() >= count {
                    return asked;
                }
                news.await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, all).await;
        asked.unwrap_or_else(|_| panic!("{:?}", self.asked.lock().unwrap()))
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// EMQX's answer; clients of `A-1` fill three pages.
async fn answer(State(fake): State<Arc<Fake>>, headers: HeaderMap, request: Request) -> Response {
    let expected = base64::engine::general_purpose::STANDARD.encode("dormouse:s3cret");
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let target = parts.uri.to_string();
    fake.asked.lock().unwrap().push(Asked {
        method: parts.method.clone(),
        target: target.clone(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    });
    fake.news.notify_one();
    if headers["authorization"] != format!("Basic {expected}") {
        let body = json!({"code": "BAD_API_KEY_OR_SECRET", "message": "Check api_key/api_secret"});
        return (StatusCode::UNAUTHORIZED, [JSON], body.to_string()).into_response();
    }
    if let Some(status) = fake.failures.lock().unwrap().pop_front() {
        return (status, "out of order").into_response();
    }
    match (parts.method, target.split('?').next().unwrap()) {
        (Method::GET, "/api/v5/clients") => {
            let page = target.rsplit_once("page=").unwrap().1;
            let is_a1 = target.contains("username=A-1&");
            let data = match (is_a1, page) {
                (true, "1") => {
                    json!([{"clientid": "DVES_1", "username": "A-1", "connected": true}])
                }
                (true, "2") => json!([{"clientid": "a/b c", "username": "A-1"}]),
                (true, _) => json!([{"clientid": "other", "username": "A-10"}]),
                (false, _) => json!([]),
            };
            let meta = json!({"page": 1, "limit": 100, "hasnext": is_a1 && page != "3"});
            ([JSON], json!({"data": data, "meta": meta}).to_string()).into_response()
        }
        (Method::POST, "/api/v5/banned") if body.windows(3).any(|it| it == b"B-2") => {
            let body = json!({"code": "ALREADY_EXISTS", "message": "{\"who\":\"B-2\"}"});
            (StatusCode::BAD_REQUEST, [JSON], body.to_string()).into_response()
        }
        (Method::POST, "/api/v5/banned") => ([JSON], body).into_response(),
        (Method::POST, "/api/v5/clients/kickout/bulk") => StatusCode::NO_CONTENT.into_response(),
        (Method::DELETE, _) => {
            let body = json!({"code": "NOT_FOUND", "message": "not found"});
            (StatusCode::NOT_FOUND, [JSON], body.to_string()).into_response()
        }
        (method, path) => panic!("{method} {path}"),
    }
}

struct Bench {
    fake: Arc<Fake>,
    sessions: Arc<EmqxSessions>,
    health: Arc<HealthRegistry>,
    _tasks: Vec<AbortOnDropHandle<()>>,
    _secret: TempDir,
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    AbortOnDropHandle::new(tokio::spawn(work))
}

fn secret_file(secret: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    (folder, file)
}

async fn serve(fake: &Arc<Fake>) -> (SocketAddr, AbortOnDropHandle<()>) {
    let router = Router::new().fallback(answer).with_state(Arc::clone(fake));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = spawn(async move {
        axum::serve(listener, router).await.unwrap();
    });
    (address, server)
}

fn api(address: SocketAddr, secret: &str) -> (TempDir, EmqxApi) {
    crate::tls::use_ring();
    let (folder, secret_file) = secret_file(secret);
    let api = EmqxApi::new(&ApiSettings {
        url: format!("http://{address}"),
        key: "dormouse".to_owned(),
        secret_file,
        ca_file: None,
    });
    (folder, api.unwrap())
}

impl Bench {
    async fn start(failures: &[StatusCode], secret: &str) -> Self {
        let fake = Arc::new(Fake::default());
        fake.failures.lock().unwrap().extend(failures);
        let (address, server) = serve(&fake).await;
        Self::over(fake, vec![server], api(address, secret))
    }

    fn over(
        fake: Arc<Fake>,
        mut tasks: Vec<AbortOnDropHandle<()>>,
        (secret, api): (TempDir, EmqxApi),
    ) -> Self {
        let health = Arc::new(HealthRegistry::new(Arc::new(ManualClock::default())));
        let part = health.add("emqx", "emqx", Serves::Other, false);
        let (sessions, worker) = EmqxSessions::new(api, Topics::default(), part);
        tasks.push(spawn(async move {
            worker.run(CancellationToken::new()).await.unwrap();
        }));
        Self {
            fake,
            sessions,
            health,
            _tasks: tasks,
            _secret: secret,
        }
    }

    async fn health(&self, wanted: PartState) -> Option<String> {
        let all = async {
            loop {
                let part = self.health.all()["emqx"].clone();
                if part.state == wanted && part.detail.as_deref() != Some("starting") {
                    return part.detail;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap()
    }
}

fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

fn first() -> Asked {
    asked(Method::GET, "/api/v5/clients?limit=1&page=1", Value::Null)
}

fn list(device: &str, page: u8) -> Asked {
    let target = format!("/api/v5/clients?username={device}&limit=100&page={page}");
    asked(Method::GET, &target, Value::Null)
}

fn ban(device: &str) -> Asked {
    let body = json!({"as": "username", "who": device, "reason": "revoked in Dormouse", "until": "infinity"});
    asked(Method::POST, "/api/v5/banned", body)
}

#[tokio::test]
async fn a_deleted_device_is_banned_kicked_and_forgotten() {
    let bench = Bench::start(&[], "s3cret").await;
    bench.sessions.kick(&id("A-1"), KickReason::Deleted);
    let expected = [
        first(),
        ban("A-1"),
        list("A-1", 1),
        list("A-1", 2),
        list("A-1", 3),
        asked(
            Method::POST,
            "/api/v5/clients/kickout/bulk",
            json!(["DVES_1", "a/b c"]),
        ),
        asked(
            Method::DELETE,
            "/api/v5/mqtt/retainer/message/dorm%2FA-1%2Fstatus",
            Value::Null,
        ),
    ];
    assert_eq!(bench.fake.heard(expected.len()).await, expected);
    assert_eq!(bench.health(PartState::Up).await, None);
}

#[tokio::test]
async fn who_is_banned_already_is_kicked_all_the_same() {
    let bench = Bench::start(&[], "s3cret").await;
    bench.sessions.kick(&id("B-2"), KickReason::Revoked);
    let asked = bench.fake.heard(4).await;
    assert_eq!(asked[1..3], [ban("B-2"), list("B-2", 1)]);
    assert!(asked[3].target.ends_with("dorm%2FB-2%2Fstatus"));
}

#[tokio::test]
async fn new_credentials_end_the_session_and_lift_the_ban() {
    let bench = Bench::start(&[], "s3cret").await;
    bench
        .sessions
        .kick(&id("C-3"), KickReason::CredentialsChanged);
    let unban = asked(Method::DELETE, "/api/v5/banned/username/C-3", Value::Null);
    let expected = [first(), unban.clone(), list("C-3", 1)];
    assert_eq!(bench.fake.heard(3).await, expected);
    let device = Device {
        key: DeviceKey(1),
        id: id("C-3"),
        state: DeviceState::Active,
        settings: DeviceSettings::default(),
        version: 1,
        created_at: dormouse_core::clock::Timestamp::from_millis(0),
        reported: None,
    };
    for change in [DeviceChange::Edited, DeviceChange::Added] {
        bench.sessions.changed(&device, change, &Origin::Server);
    }
    assert_eq!(bench.fake.heard(4).await[3..], [unban]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_api_is_asked_until_it_is_done() {
    let broken = [
        StatusCode::OK,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    // The first question is answered with something unreadable.
    let bench = Bench::start(&broken, "s3cret").await;
    bench.sessions.kick(&id("B-2"), KickReason::Revoked);
    let asked = bench.fake.heard(6).await;
    assert_eq!(
        asked[..5],
        [first(), ban("B-2"), ban("B-2"), ban("B-2"), list("B-2", 1)]
    );
    bench.health(PartState::Up).await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_key_is_said_and_nothing_is_lost() {
    let bench = Bench::start(&[], "wrong").await;
    bench.sessions.kick(&id("B-2"), KickReason::Revoked);
    bench.fake.heard(3).await;
    let detail = bench.health(PartState::Down).await.unwrap();
    assert_eq!(detail, "EMQX does not take the API key; 1 devices wait");
    assert!(bench.sessions.waiting().first().is_some());
}

#[tokio::test]
async fn errors_name_the_setting_and_no_secret() {
    let fake = Arc::new(Fake::default());
    let (address, server) = serve(&fake).await;
    let (_folder, wrong) = api(address, "hunter2");
    let error = wrong.check().await.unwrap_err().to_string();
    assert!(
        error.starts_with("emqx.api_key: ") && error.contains("401"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
    drop(server);
    let closed = SocketAddr::from(([127, 0, 0, 1], dormouse_testbed::free_port().unwrap()));
    let (_folder, gone) = api(closed, "hunter2");
    let error = gone.check().await.unwrap_err().to_string();
    assert!(error.starts_with("emqx.api_url: no answer"), "{error}");
    assert!(error.contains("refused"), "{error}");
    for (url, expected) in [
        ("emqx:18083", "must begin with http"),
        ("http://k:hunter2@h/", "must not hold a key"),
        ("http://h/dashboard", "without a path"),
        ("nonsense", "must read like"),
    ] {
        let error = base(url).unwrap_err();
        assert!(error.contains(expected), "{url}: {error}");
    }
}

/// Only the newest word about a device counts, and the queue has its bound.
#[test]
fn the_newest_word_counts() {
    let mut waiting = Waiting::default();
    waiting.put(&id("A-1"), Word::Banned);
    let taken = waiting.first().unwrap();
    waiting.put(&id("A-1"), Word::Restored);
    waiting.told(&taken.0, taken.1);
    assert_eq!(waiting.first(), Some((id("A-1"), Word::Restored)));
    waiting.put(&id("B-2"), Word::Banned);
    waiting.put_back(&id("A-1"));
    assert_eq!(waiting.first(), Some((id("B-2"), Word::Banned)));
    waiting.told(&id("B-2"), Word::Banned);
    for n in 0..WAITING_MAX {
        waiting.put(&id(&format!("x{n}")), Word::Banned);
    }
    assert_eq!(
        (waiting.order.len(), waiting.words.len()),
        (WAITING_MAX, WAITING_MAX)
    );
    assert_eq!(waiting.dropped, 1);
    assert_eq!(waiting.first(), Some((id("x0"), Word::Banned)));
}
