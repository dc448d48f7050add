//! The link to an external broker.
//!
//! [`prepare`] gives the services' side at once; [`LinkTasks::start`] connects
//! once everything that takes messages is there, or says why the broker cannot
//! be used; [`RunningLink::run`] then keeps the link up.

mod adopt;
mod arrivals;
mod clients;
mod connection;
mod dial;
mod link;
mod observer;
mod outbox;
mod problem;
mod session;
mod settings;
mod slots;
#[cfg(test)]
mod tests;
mod window;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use dormouse_core::clock::Clock;
use dormouse_core::ports::nodes::{LeaseStore, NodeId};
use dormouse_core::topic::Topics;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use arrivals::ArrivalsParts;
pub use clients::SessionWatch;
pub use link::{ExternalLink, LinkState, LinkStats, NoRevocation};
pub use problem::{LinkError, Spoken};
pub use settings::{LinkSettings, Versions};

use crate::backoff::Backoff;
use arrivals::{Arrivals, Stranger};
use link::Status;
use outbox::Outbox;
use session::{Common, Seat, Session};
use settings::Account;
use slots::Keeper;

/// How long a broker that says that it is busy is asked again at the start:
/// EMQX says so to whoever comes back at once.
const BUSY: Duration = Duration::from_secs(10);

/// What is needed to connect.
#[derive(Debug)]
pub struct LinkTasks {
    account: Account,
    settings: LinkSettings,
    topics: Topics,
    outbox: Outbox,
    status: Arc<Status>,
}

/// A link that is connected.
#[derive(Debug)]
pub struct RunningLink {
    common: Arc<Common>,
    session: Session,
    seat: Seat,
    strangers: mpsc::Receiver<Stranger>,
}

/// The services' side of a link, and what connects it.
///
/// # Errors
/// Which setting cannot be used, and why.
pub fn prepare(
    settings: LinkSettings,
    topics: Topics,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<ExternalLink>, LinkTasks), LinkError> {
    let account = Account::load(&settings)?;
    let (slit, outbox) = outbox::outbox();
    let status = Arc::new(Status::new(clock));
    let link = ExternalLink::new(topics.clone(), slit, Arc::clone(&status));
    let tasks = LinkTasks {
        account,
        settings,
        topics,
        outbox,
        status,
    };
    Ok((Arc::new(link), tasks))
}

impl LinkTasks {
    /// Takes a slot, connects and subscribes. From here on messages are
    /// handed to `arrivals`.
    ///
    /// # Errors
    /// Why the broker cannot be used.
    pub async fn start(
        self,
        arrivals: ArrivalsParts,
        leases: Arc<dyn LeaseStore>,
        node: NodeId,
    ) -> Result<RunningLink, LinkError> {
        let (arrivals, strangers) = Arrivals::new(arrivals, Arc::clone(&self.status));
        let common = Arc::new(Common {
            account: self.account,
            topics: self.topics,
            prefix: self.settings.client_id_prefix,
            share: self.settings.share,
            keeper: Keeper::new(leases, node),
            arrivals,
            status: self.status,
        });
        let mut session = Session::new(Arc::clone(&common), self.outbox);
        let seat = begin(&mut session).await?;
        Ok(RunningLink {
            common,
            session,
            seat,
            strangers,
        })
    }
}

/// Begins, also where the broker asks for patience at first.
async fn begin(session: &mut Session) -> Result<Seat, LinkError> {
    let mut backoff = Backoff::default();
    let until = Instant::now() + BUSY;
    loop {
        match session.begin().await {
            Err(error) if error.is_busy() && Instant::now() < until => {
                sleep(backoff.pause()).await;
            }
            other => return other,
        }
    }
}

impl RunningLink {
    /// Keeps the link up until `stop`; then acknowledges what is being kept
    /// and leaves, so that another node or the next start goes on.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            common,
            session,
            seat,
            strangers,
        } = self;
        let arrivals = Arc::clone(&common.arrivals);
        tokio::join!(
            session.run(seat, stop.clone()),
            adopt::adopt(Arc::clone(&common), stop.clone()),
            observer::observe(common, stop.clone()),
            arrivals.greet(strangers, stop.clone()),
        );
    }
}
