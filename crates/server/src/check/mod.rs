//! Proves that a broker is locked down: tries what must be refused and what
//! must be allowed, as a stranger, as one device against another and as
//! Dormouse's own account, and tells what it found.

mod attempt;
mod client;
mod device;
mod guarantee;
mod nodes;
mod report;
mod retained;
mod stranger;
mod takeover;
mod target;
mod transport;

use std::pin::Pin;
use std::time::Duration;

use dormouse_core::clock::Timestamp;
use dormouse_core::ids::DeviceId;
use dormouse_core::secret::Secret;
use dormouse_core::topic::Topics;

pub use client::ConnectError;
pub use report::{Check, Report, Verdict};
pub use target::{Target, TargetError, Trust};

use crate::brokers::emqx::EmqxApi;
use client::{Login, Probe};

/// How long anything that should come may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long something that should not come is waited for, after all that was
/// sent behind it has come.
const QUIET: Duration = Duration::from_millis(400);

/// Somebody who can sign in.
#[derive(Debug, Clone)]
pub struct Account {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// A device to test with; nothing of it may be in use.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its id.
    pub id: DeviceId,
    /// Its password.
    pub password: Secret,
}

/// Restarts the broker; says why it could not.
pub type Restart<'r> =
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync + 'r;

/// What to check, and with whom.
pub struct Bench<'r> {
    /// The broker.
    pub broker: Target,
    /// Whether it is the one inside Dormouse: that has no account of the
    /// nodes, and passes devices' messages to nobody.
    pub embedded: bool,
    /// The topic grammar.
    pub topics: Topics,
    /// A device.
    pub a: Subject,
    /// Another one.
    pub b: Subject,
    /// The nodes' account.
    pub nodes: Option<Account>,
    /// The account that only listens.
    pub listener: Option<Account>,
    /// EMQX's REST API, such as `http://127.0.0.1:18083`.
    pub api_url: Option<String>,
    /// The same with our key, to clear what the account of the nodes may not.
    pub api: Option<&'r EmqxApi>,
    /// Where the broker could be reached without TLS from outside.
    pub outside: Option<String>,
    /// Whether to clear retained commands.
    pub fix: bool,
    /// How to restart the broker, if that may be done.
    pub restart: Option<&'r Restart<'r>>,
    /// Now.
    pub now: Timestamp,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench")
            .field("broker", &self.broker)
            .field("a", &self.a)
            .field("b", &self.b)
            .finish_non_exhaustive()
    }
}

/// Tries everything.
///
/// # Errors
/// When the broker cannot be reached at all, or does not let a device in that
/// it should know.
pub async fn run(bench: &Bench<'_>) -> Result<Report, ConnectError> {
    let mut report = Report::new(bench.broker.to_string());
    let peer = bench.broker.open().await?;
    transport::check(bench, &peer, &mut report).await;
    drop(peer);
    stranger::check(bench, &mut report).await;
    device::check(bench, &mut report).await?;
    takeover::check(bench, &mut report).await;
    if !bench.embedded {
        nodes::check(bench, &mut report).await;
        guarantee::check(bench, &mut report).await;
        retained::check(bench, &mut report).await;
    }
    Ok(report)
}

/// Waits until the broker lets `subject` in: it may have to hear of it first.
///
/// # Errors
/// When it still does not after `patience`.
pub async fn until_known(
    broker: &Target,
    subject: &Subject,
    patience: Duration,
) -> Result<(), ConnectError> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        match Probe::connect(broker, &subject.login()).await {
            Ok(probe) => {
                probe.close().await;
                return Ok(());
            }
            Err(error @ ConnectError::Refused(_)) => {
                if tokio::time::Instant::now() > deadline {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

impl Account {
    fn login(&self) -> Login {
        Login::new(&self.name, &self.password)
    }
}

impl Subject {
    fn login(&self) -> Login {
        Login::new(self.id.as_str(), &self.password)
    }
}

/// A body that no Dormouse takes for a reading, and that nobody else sends.
fn marker() -> String {
    let mark = Secret::random("");
    format!("{{\"dormouseCheck\":\"{}\"}}", mark.expose())
}

#[cfg(test)]
pub(crate) use client::Login as TestLogin;
#[cfg(test)]
pub(crate) use client::Probe as TestProbe;

#[cfg(test)]
mod tests;
