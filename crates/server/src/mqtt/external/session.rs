//! A node's own broker session: its slot, its shared subscription, its
//! connection again and again.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dormouse_core::topic::Topics;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::arrivals::Arrivals;
use super::connection::{Connection, Event, WINDOW};
use super::dial::dial;
use super::link::Status;
use super::outbox::Outbox;
use super::problem::LinkError;
use super::settings::Account;
use super::slots::{Certainty, Held, Keeper};
use super::wire::Hello;
use crate::backoff::Backoff;

/// How often we say that we are there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the broker keeps messages for a node that does not come back.
const EXPIRY: Duration = Duration::from_secs(24 * 3_600);
/// How long the broker may take to answer a SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(10);
/// More nodes than this on one broker are refused.
const SLOTS: u32 = 1_024;
/// A connection that lasted this long was no failure.
const STABLE: Duration = Duration::from_secs(30);
/// How long a stop waits for messages that are being kept.
const DRAIN: Duration = Duration::from_secs(5);
/// The shared subscription's name unless configured otherwise.
const USUAL_SHARE: &str = "dormouse";
/// What devices publish.
const CHANNELS: [&str; 4] = ["telemetry", "status", "ack", "event"];

/// What all connections of this process share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) account: Account,
    pub(super) topics: Topics,
    pub(super) prefix: String,
    pub(super) share: Option<String>,
    pub(super) keeper: Keeper,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) status: Arc<Status>,
}

impl Common {
    /// How the session of slot `number` is opened.
    pub(super) fn hello(&self, number: u32) -> Hello {
        Hello {
            client_id: format!("{}-{number}", self.prefix),
            username: self.account.username.clone(),
            password: self.account.password.clone(),
            keep_alive: KEEP_ALIVE,
            clean: false,
            expiry: EXPIRY,
            shared: self.share.is_some(),
            receive_max: WINDOW,
        }
    }

    /// How a session is opened that ends with its connection.
    pub(super) fn passing_hello(&self, name: &str, receive_max: NonZeroU16) -> Hello {
        Hello {
            client_id: format!("{}-{name}", self.prefix),
            clean: true,
            expiry: Duration::ZERO,
            shared: false,
            receive_max,
            ..self.hello(0)
        }
    }

    /// The subscription, one filter per channel.
    pub(super) fn filters(&self) -> Vec<String> {
        self.filters_of(self.share.as_deref())
    }

    /// The subscription that the session may have from other settings: it
    /// would bring every message twice.
    fn former_filters(&self) -> Vec<String> {
        match self.share {
            Some(_) => self.filters_of(None),
            None => self.filters_of(Some(USUAL_SHARE)),
        }
    }

    fn filters_of(&self, share: Option<&str>) -> Vec<String> {
        let root = self.topics.root();
        let filter = |channel| match share {
            Some(share) => format!("$share/{share}/{root}/+/{channel}"),
            None => format!("{root}/+/{channel}"),
        };
        CHANNELS.map(filter).into()
    }

    /// Judges the broker's answer to a SUBSCRIBE.
    pub(super) fn granted(
        &self,
        filters: &[String],
        outcomes: &[Result<(), u8>],
    ) -> Result<(), LinkError> {
        const NO_SHARED: u8 = 0x9E;
        if outcomes.len() != filters.len() {
            return Err(LinkError::Unexpected("a SUBACK for other filters"));
        }
        for (filter, outcome) in filters.iter().zip(outcomes) {
            match outcome {
                Ok(()) => {}
                Err(NO_SHARED) => {
                    return Err(LinkError::Lacks {
                        what: "shared subscriptions",
                        remedy: "switch them on or use a broker that has them",
                    });
                }
                Err(code) => {
                    let root = self.topics.root();
                    let allowed = CHANNELS.map(|it| format!("{root}/+/{it}")).join(", ");
                    return Err(LinkError::Denied {
                        username: self.account.username.clone(),
                        filter: filter.clone(),
                        code: *code,
                        allowed,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The task of this node's own session.
#[derive(Debug)]
pub(super) struct Session {
    common: Arc<Common>,
    outbox: Outbox,
}

/// A slot with its connection.
#[derive(Debug)]
pub(super) struct Seat {
    number: u32,
    held: Held,
    connection: Option<Connection>,
}

impl Session {
    pub(super) const fn new(common: Arc<Common>, outbox: Outbox) -> Self {
        Self { common, outbox }
    }

    /// Takes a slot, connects and subscribes, once.
    ///
    /// # Errors
    /// Why the broker cannot be used.
    pub(super) async fn begin(&mut self) -> Result<Seat, LinkError> {
        let mut seat = self.take_seat().await?;
        match self.connect(seat.number).await {
            Ok(connection) => {
                seat.connection = Some(connection);
                Ok(seat)
            }
            Err(error) => {
                self.common.keeper.release(&seat.held).await;
                Err(error)
            }
        }
    }

    async fn take_seat(&self) -> Result<Seat, LinkError> {
        let slots = if self.common.share.is_some() {
            SLOTS
        } else {
            1
        };
        let taken = self.common.keeper.take_slot(slots).await?;
        let (number, held) = taken.ok_or_else(|| {
            LinkError::setting(
                "broker.share",
                if slots == 1 {
                    "another node has the one subscription there is; a plain subscription allows one node alone"
                } else {
                    "more than 1024 nodes share this broker"
                },
            )
        })?;
        Ok(Seat {
            number,
            held,
            connection: None,
        })
    }

    /// Serves until `stop`: always one slot, and a connection as often as it
    /// takes.
    pub(super) async fn run(mut self, first: Seat, stop: CancellationToken) {
        let mut seat = Some(first);
        let mut backoff = Backoff::default();
        loop {
            let Some(mut taken) = seat.take() else {
                match stop.run_until_cancelled(self.take_seat()).await {
                    None => return,
                    Some(Ok(taken)) => seat = Some(taken),
                    Some(Err(error)) => {
                        self.common.status.down(&error);
                        stop.run_until_cancelled(sleep(backoff.pause())).await;
                    }
                }
                continue;
            };
            backoff.reset();
            let keeper = self.common.keeper.clone();
            let certainty = taken.held.certainty();
            let connection = taken.connection.take();
            let served = tokio::select! {
                // Ends the connection at once: others act in its name now.
                () = keeper.keep_slot(&mut taken.held) => false,
                () = self.serve(taken.number, connection, certainty, &stop) => true,
            };
            if served {
                self.common.keeper.release(&taken.held).await;
                return;
            }
            self.common.status.down(&LinkError::Fenced);
        }
    }

    /// Keeps slot `number` connected until `stop`.
    async fn serve(
        &mut self,
        number: u32,
        first: Option<Connection>,
        mut certainty: Certainty,
        stop: &CancellationToken,
    ) {
        let mut opened = first;
        let mut backoff = Backoff::default();
        loop {
            let connected = match opened.take() {
                Some(connection) => Ok(connection),
                None => {
                    let connecting = async {
                        certainty.wait().await;
                        self.connect(number).await
                    };
                    match stop.run_until_cancelled(connecting).await {
                        Some(connected) => connected,
                        None => return,
                    }
                }
            };
            let error = match connected {
                Ok(mut connection) => {
                    let began = Instant::now();
                    match self.exchange(&mut connection, stop).await {
                        Ok(()) => return self.finish(connection).await,
                        Err(error) => {
                            if began.elapsed() > STABLE {
                                backoff.reset();
                            }
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            self.common.status.down(&error);
            let pause = sleep(backoff.pause());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn connect(&mut self, number: u32) -> Result<Connection, LinkError> {
        let common = Arc::clone(&self.common);
        let hello = common.hello(number);
        let mut connection = dial(&common.account, &hello).await?;
        let filters = common.filters();
        if connection.session_present() {
            connection.unsubscribe(&common.former_filters())?;
        }
        connection.subscribe(&filters, false)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let next = timeout_at(deadline, connection.next(true)).await;
            let event = next.map_err(|_| LinkError::NoAnswer {
                address: common.account.address().into(),
                what: "SUBSCRIBE",
                after: PATIENCE,
            })?;
            match event? {
                // What the broker had kept for us.
                Event::Message(message, ticket) => common.arrivals.take(message, ticket),
                Event::Subscribed(outcomes) => {
                    common.granted(&filters, &outcomes)?;
                    break;
                }
                Event::Taken { .. } | Event::Unsubscribed => {}
            }
        }
        self.outbox.resume(&mut connection)?;
        let version = connection.version().to_string();
        let resumed = connection.session_present();
        common.status.show(connection.window());
        common.status.up(&hello.client_id, &version, resumed);
        Ok(connection)
    }

    /// Takes and sends until `stop`.
    ///
    /// # Errors
    /// When the connection is over.
    async fn exchange(
        &mut self,
        connection: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<(), LinkError> {
        let arrivals = Arc::clone(&self.common.arrivals);
        loop {
            let listening = arrivals.has_room();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = connection.next(listening) => {
                    self.take(event?);
                    while arrivals.has_room() && let Some(event) = connection.ready()? {
                        self.take(event);
                    }
                }
                outgoing = self.outbox.next() => {
                    self.outbox.send(connection, outgoing)?;
                    self.common.status.sent.fetch_add(1, Ordering::Relaxed);
                }
                () = arrivals.room(), if !listening => {}
            }
            let in_flight = self.outbox.in_flight() as u64;
            let shown = &self.common.status.in_flight;
            shown.store(in_flight, Ordering::Relaxed);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message(message, ticket) => self.common.arrivals.take(message, ticket),
            Event::Taken { id, refused } => {
                let outgoing = self.outbox.taken(id);
                if let (Some(code), Some(outgoing)) = (refused, outgoing) {
                    let refused = &self.common.status.refused;
                    refused.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        topic = outgoing.topic,
                        reason = format_args!("0x{code:02x}"),
                        username = self.common.account.username,
                        "the broker refused a message; may the account publish there?"
                    );
                }
            }
            Event::Subscribed(_) | Event::Unsubscribed => {}
        }
    }

    /// Sends what waits, acknowledges what is being kept, and leaves; the
    /// session stays.
    async fn finish(&mut self, mut connection: Connection) {
        while let Some(outgoing) = self.outbox.waiting() {
            if self.outbox.send(&mut connection, outgoing).is_err() {
                return;
            }
        }
        // The broker sends again whatever is not acknowledged by then.
        timeout(DRAIN, connection.settle()).await.ok();
        connection.close(false).await;
    }
}
