//! EMQX's REST API, as far as devices' sessions are concerned.

use std::path::PathBuf;
use std::time::Duration;

use dormouse_core::ids::DeviceId;
use dormouse_core::secret::Secret;
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;

/// How long a connection to the API may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Clients asked for at once.
const PAGE: u32 = 100;
/// Pages read of one device's clients; a device has one client.
const PAGES_MAX: u32 = 100;
/// The most that is read of an error's body, bytes.
const DETAIL_MAX: usize = 200;

/// How the API is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Such as `http://127.0.0.1:18083`.
    pub url: String,
    /// The API key.
    pub key: String,
    /// File with its secret.
    pub secret_file: PathBuf,
    /// File with the certificates to trust; `None` for the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why the API did not do it. Says which setting is concerned, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// A setting cannot be used.
    #[error("{key}: {problem}")]
    Setting {
        /// Which one.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The key or its secret is wrong, or may not do this.
    #[error(
        "emqx.api_key: EMQX does not take the API key ({status}); is it in api_keys.txt with the role administrator, is emqx.api_secret_file its secret, and was EMQX started since?"
    )]
    Refused {
        /// The answer's status.
        status: StatusCode,
    },
    /// Nobody answered.
    #[error(
        "emqx.api_url: no answer from EMQX's API: {0}; is it running, and is this its address?"
    )]
    Unreachable(String),
    /// It answered something else than was to be expected.
    #[error("EMQX's API answered {what} with {status}: {detail}")]
    Failed {
        /// What was asked.
        what: &'static str,
        /// The answer's status.
        status: StatusCode,
        /// The beginning of what it said.
        detail: String,
    },
    /// Its answer cannot be read.
    #[error("EMQX's API answered {what} with something unreadable: {detail}")]
    Unreadable {
        /// What was asked.
        what: &'static str,
        /// Why not.
        detail: String,
    },
}

/// The API of one EMQX cluster.
#[derive(Debug, Clone)]
pub struct EmqxApi {
    client: Client,
    base: Url,
    key: String,
    secret: Secret,
}

impl EmqxApi {
    /// Reads what `settings` name; asks nobody yet.
    ///
    /// # Errors
    /// Which setting cannot be used.
    pub fn new(settings: &ApiSettings) -> Result<Self, ApiError> {
        let wrong = |key, problem: String| ApiError::Setting { key, problem };
        let base = base(&settings.url).map_err(|it| wrong("emqx.api_url", it.to_owned()))?;
        let file = &settings.secret_file;
        let secret = std::fs::read_to_string(file).map_err(|error| {
            wrong(
                "emqx.api_secret_file",
                format!("{}: {error}", file.display()),
            )
        })?;
        let mut client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            // The API is on our own network.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &settings.ca_file {
            let problem = |error: String| wrong("emqx.ca_file", error);
            let pem = std::fs::read(file)
                .map_err(|error| problem(format!("{}: {error}", file.display())))?;
            let authorities = Certificate::from_pem_bundle(&pem)
                .map_err(|error| problem(format!("{}: {error}", file.display())))?;
            client = client.tls_certs_only(authorities);
        }
        let client = client
            .build()
            .map_err(|error| wrong("emqx.ca_file", error.to_string()))?;
        Ok(Self {
            client,
            base,
            key: settings.key.clone(),
            secret: Secret::new(secret.trim()),
        })
    }

    /// Whether the API answers and takes our key.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self) -> Result<(), ApiError> {
        self.clients_page("a first question", &[("limit", "1")], 1)
            .await?;
        Ok(())
    }

    /// Keeps `device` out until [`EmqxApi::unban`].
    ///
    /// # Errors
    /// Why it may come in still.
    pub async fn ban(&self, device: &DeviceId) -> Result<(), ApiError> {
        let body = json!({
            "as": "username",
            "who": device.as_str(),
            "reason": "revoked in Dormouse",
            "until": "infinity",
        });
        let request = self.request(Method::POST, &["banned"]).json(&body);
        let response = send(request).await?;
        if response.status() == StatusCode::BAD_REQUEST {
            let (status, text) = (response.status(), response.text().await);
            let text = text.unwrap_or_default();
            // It is banned already.
            if text.contains("ALREADY_EXIST") {
                return Ok(());
            }
            return Err(failed("a ban", status, &text));
        }
        done("a ban", response, None).await
    }

    /// Lets `device` in again.
    ///
    /// # Errors
    /// Why it may not come in still.
    pub async fn unban(&self, device: &DeviceId) -> Result<(), ApiError> {
        let path = ["banned", "username", device.as_str()];
        let response = send(self.request(Method::DELETE, &path)).await?;
        done("the end of a ban", response, Some(StatusCode::NOT_FOUND)).await
    }

    /// Ends every session of `device`; says how many there were.
    ///
    /// # Errors
    /// Why some may be left.
    pub async fn kick(&self, device: &DeviceId) -> Result<usize, ApiError> {
        let what = "the list of a device's clients";
        let mut clients = Vec::new();
        for page in 1..=PAGES_MAX {
            let query = [("username", device.as_str()), ("limit", &PAGE.to_string())];
            let found = self.clients_page(what, &query, page).await?;
            let is_last = found.data.is_empty() || !found.meta.hasnext;
            // Whoever is listed under another name is none of ours.
            let own = found.data.into_iter().filter(|it| it.is_of(device));
            clients.extend(own.map(|it| it.clientid));
            if is_last {
                break;
            }
        }
        if !clients.is_empty() {
            let path = ["clients", "kickout", "bulk"];
            let request = self.request(Method::POST, &path).json(&clients);
            done("the end of sessions", send(request).await?, None).await?;
        }
        Ok(clients.len())
    }

    /// Forgets the message retained on `topic`, if there is one.
    ///
    /// # Errors
    /// Why it may be there still.
    pub async fn clear_retained(&self, topic: &str) -> Result<(), ApiError> {
        let path = ["mqtt", "retainer", "message", topic];
        let response = send(self.request(Method::DELETE, &path)).await?;
        done(
            "the end of a retained message",
            response,
            Some(StatusCode::NOT_FOUND),
        )
        .await
    }

    async fn clients_page(
        &self,
        what: &'static str,
        query: &[(&str, &str)],
        page: u32,
    ) -> Result<Clients, ApiError> {
        let mut url = self.url(&["clients"]);
        url.query_pairs_mut()
            .extend_pairs(query)
            .append_pair("page", &page.to_string());
        let response = send(self.authorized(Method::GET, url)).await?;
        if !response.status().is_success() {
            let status = response.status();
            return Err(failed(
                what,
                status,
                &response.text().await.unwrap_or_default(),
            ));
        }
        response.json().await.map_err(|error| ApiError::Unreadable {
            what,
            detail: error.without_url().to_string(),
        })
    }

    /// A request whose path is `segments`, each encoded by itself.
    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.authorized(method, self.url(segments))
    }

    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    fn authorized(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.client.request(method, url);
        request.basic_auth(&self.key, Some(self.secret.expose()))
    }
}

/// The address of version 5 of the API.
pub(super) fn base(url: &str) -> Result<Url, &'static str> {
    // The address itself is not repeated: it may hold a password.
    let mut base = Url::parse(url).map_err(|_| "must read like http://127.0.0.1:18083")?;
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err("must begin with http:// or https:// and name a host");
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err("must not hold a key; use emqx.api_key and emqx.api_secret_file");
    }
    if !matches!(base.path(), "/" | "/api/v5" | "/api/v5/") || base.query().is_some() {
        return Err("must be an address without a path");
    }
    base.set_path("/api/v5/");
    Ok(base)
}

/// Sends a request; an answer that blames the key is an error.
async fn send(request: RequestBuilder) -> Result<Response, ApiError> {
    let response = request.send().await.map_err(|error| {
        // Says what failed underneath, without the address.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text = inner.to_string();
            cause = inner.source();
        }
        ApiError::Unreachable(text)
    })?;
    match response.status() {
        status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
            Err(ApiError::Refused { status })
        }
        _ => Ok(response),
    }
}

/// Whether it is done; `also` is a status that says that there was nothing to do.
async fn done(
    what: &'static str,
    response: Response,
    also: Option<StatusCode>,
) -> Result<(), ApiError> {
    let status = response.status();
    if status.is_success() || Some(status) == also {
        return Ok(());
    }
    Err(failed(
        what,
        status,
        &response.text().await.unwrap_or_default(),
    ))
}

fn failed(what: &'static str, status: StatusCode, text: &str) -> ApiError {
    ApiError::Failed {
        what,
        status,
        detail: text.chars().take(DETAIL_MAX).collect(),
    }
}

#[derive(Debug, Deserialize)]
struct Clients {
    data: Vec<ListedClient>,
    meta: Meta,
}

#[derive(Debug, Deserialize)]
struct ListedClient {
    clientid: String,
    #[serde(default)]
    username: Option<String>,
}

impl ListedClient {
    fn is_of(&self, device: &DeviceId) -> bool {
        self.username.as_deref() == Some(device.as_str())
    }
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    hasnext: bool,
}
