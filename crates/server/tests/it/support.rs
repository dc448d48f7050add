//! Starts the real binary in a folder of its own and talks to it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition: below the limit on reads of a session.
const POLL: Duration = Duration::from_millis(75);

/// The binary under test.
pub(crate) const DORMOUSE: &str = env!("CARGO_BIN_EXE_dormouse");

/// Where a running server listens.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ready {
    pub(crate) http: String,
    pub(crate) mqtt: String,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) data: PathBuf,
    pub(crate) ready: Ready,
    pub(crate) token: String,
    client: reqwest::Client,
}

impl Server {
    /// Starts `dormouse serve` on free ports with its data in `data`.
    pub(crate) async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// [`Server::start`] with variables such as `DORMOUSE__LOG__FILTER`.
    pub(crate) async fn start_with(data: &Path, env: &[(&str, &str)]) -> Self {
        Self::start_command(Command::new(DORMOUSE), data, env).await
    }

    /// [`Server::start_with`] where writing beyond a limit on the size of files
    /// fails, as on a full disk, instead of ending the process.
    pub(crate) async fn start_ignoring_file_limit(data: &Path, env: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, DORMOUSE]);
        Self::start_command(shell, data, env).await
    }

    async fn start_command(mut command: Command, data: &Path, env: &[(&str, &str)]) -> Self {
        let mut child = command
            .args([
                "serve",
                "--http",
                "127.0.0.1:0",
                "--mqtt",
                "127.0.0.1:0",
                "--ready-json",
            ])
            .arg("--data")
            .arg(data)
            .env("DORMOUSE__LOG__FILTER", "warn")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .expect("the server is ready in time")
            .unwrap()
            .expect("the server says where it listens");
        let ready = serde_json::from_str(&line).unwrap();
        let token = create_token(data, env).await;
        Self {
            child,
            data: data.to_owned(),
            ready,
            token,
            client: http_client(),
        }
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The MQTT listener's host and port.
    pub(crate) fn mqtt(&self) -> (String, u16) {
        let address = self.ready.mqtt.trim_start_matches("mqtt://");
        let (host, port) = address.rsplit_once(':').unwrap();
        (host.to_owned(), port.parse().unwrap())
    }

    /// The HTTP listener's URL without a trailing slash.
    pub(crate) fn http(&self) -> String {
        let address = self.ready.http.trim_end_matches('/');
        if address.starts_with("http") {
            address.to_owned()
        } else {
            format!("http://{address}")
        }
    }

    /// Ends the process at once, as a crash would.
    pub(crate) async fn kill(mut self) -> PathBuf {
        self.child.kill().await.unwrap();
        self.data.clone()
    }

    /// Asks the process to stop and waits for a clean exit.
    pub(crate) async fn stop(mut self) -> PathBuf {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("the server stops in time")
            .unwrap();
        assert!(status.success(), "exit status {status}");
        self.data.clone()
    }

    /// Sends a request as an administrator; the answer's status and body.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.http()))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, body)
    }

    /// A GET that must succeed.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.request(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status} {body}");
        body
    }

    /// A POST that must succeed.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.request(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "POST {path}: {status} {answer}");
        answer
    }

    /// Adds a device with `sockets` sockets; its password.
    pub(crate) async fn add_device(&self, id: &str, sockets: u8) -> String {
        let body = serde_json::json!({"deviceId": id, "sockets": sockets});
        let answer = self.post("/api/v1/devices", body).await;
        answer["credentials"]["password"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// Runs the binary to its end; exit code, standard output, standard error.
pub(crate) async fn run(args: &[&str]) -> (i32, String, String) {
    run_with(args, &[]).await
}

/// [`run`] with variables such as `DORMOUSE__DATABASE__URL`.
pub(crate) async fn run_with(args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let mut child = Command::new(DORMOUSE)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (_, _, status) = tokio::time::timeout(PATIENCE, async {
        tokio::join!(
            stdout.read_to_string(&mut out),
            stderr.read_to_string(&mut err),
            child.wait()
        )
    })
    .await
    .expect("the command ends in time");
    (status.unwrap().code().unwrap_or(-1), out, err)
}

async fn create_token(data: &Path, env: &[(&str, &str)]) -> String {
    let data = data.to_str().unwrap();
    let words = ["token", "create", "--name", "test", "--role", "admin"];
    let args = [&words[..], &["--data", data]].concat();
    let (code, out, err) = run_with(&args, env).await;
    assert_eq!(code, 0, "{err}");
    out.trim().to_owned()
}

/// Polls until `probe` yields something; for conditions with no event to await.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// An HTTP client of nobody's.
pub(crate) fn http_client() -> reqwest::Client {
    dormouse::tls::use_ring();
    reqwest::Client::new()
}
