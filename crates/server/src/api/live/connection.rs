//! One WebSocket: reads subscriptions, writes what the watcher's outbox holds.

use std::sync::Arc;
use std::time::Duration;

use axum::Error;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use dormouse_core::live::{Drained, LiveMessage, Subscription};
use dormouse_core::services::access::Principal;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use super::Live;
use super::request::{broken, parse};

/// The most bytes that wait for the kernel; a snapshot of 10,000 devices is a few MiB.
pub(super) const BUFFER_MAX: usize = 64 * 1024 * 1024;
/// Messages handed to the socket at a time: what waits longer can still be
/// replaced by something newer.
const BATCH: usize = 64;
/// How long a client may take to read a batch before it is given up.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// How often a quiet client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a client may say nothing at all, pongs included.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How often it is asked whether the caller may keep the connection.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Messages that a client may send within [`PING_EVERY`].
const REQUESTS_MAX: u32 = 60;

/// Why a connection ends.
enum End {
    /// The server stops.
    Stopping,
    /// The client closed, or is gone.
    Gone,
    /// The client broke a rule that ends the connection.
    Refused(&'static str),
}

impl From<Error> for End {
    fn from(_: Error) -> Self {
        Self::Gone
    }
}

/// One connection.
pub(super) struct Connection {
    live: Live,
    principal: Arc<Principal>,
    subscription: Subscription,
    heard: Instant,
    requests: u32,
}

type Outgoing = SplitSink<WebSocket, Message>;

impl Connection {
    pub(super) fn new(live: Live, principal: Arc<Principal>, subscription: Subscription) -> Self {
        Self {
            live,
            principal,
            subscription,
            heard: Instant::now(),
            requests: 0,
        }
    }

    pub(super) async fn run(mut self, socket: WebSocket) {
        let (mut outgoing, mut incoming) = socket.split();
        let stop = self.live.stop.clone();
        let work = self.work(&mut outgoing, &mut incoming);
        let end = match stop.run_until_cancelled(work).await {
            None => End::Stopping,
            Some(Ok(never)) => match never {},
            Some(Err(end)) => end,
        };
        let (code, reason) = match end {
            End::Stopping => (close_code::AWAY, "the server stops"),
            End::Gone => return,
            End::Refused(reason) => (close_code::POLICY, reason),
        };
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        };
        let farewell = async {
            outgoing.send(Message::Close(Some(frame))).await?;
            // To close with something unread would reset the connection, and
            // the client might never see why.
            while incoming.next().await.transpose()?.is_some() {}
            Ok::<_, Error>(())
        };
        // Whoever does not read even this is dropped.
        timeout(Duration::from_secs(1), farewell).await.ok();
    }

    async fn work(
        &mut self,
        outgoing: &mut Outgoing,
        incoming: &mut SplitStream<WebSocket>,
    ) -> Result<std::convert::Infallible, End> {
        let mut pings = ticks(PING_EVERY);
        let mut checks = ticks(CHECK_EVERY);
        loop {
            tokio::select! {
                message = incoming.next() => {
                    self.take(message.ok_or(End::Gone)??, outgoing).await?;
                }
                drained = self.subscription.next(BATCH) => {
                    self.pass_on(drained, outgoing).await?;
                }
                _ = checks.tick() => {
                    if !self.live.gate.still_holds(&self.principal).await {
                        return Err(End::Refused("signed out"));
                    }
                }
                _ = pings.tick() => {
                    if self.heard.elapsed() > SILENCE_MAX {
                        return Err(End::Gone);
                    }
                    self.requests = 0;
                    write(outgoing, [Message::Ping(Bytes::new())]).await?;
                }
            }
        }
    }

    async fn take(&mut self, message: Message, outgoing: &mut Outgoing) -> Result<(), End> {
        self.heard = Instant::now();
        let parsed = match &message {
            Message::Text(text) => parse(text.as_str()),
            Message::Binary(_) => Err(broken("", "messages are JSON in text frames")),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        self.requests += 1;
        if self.requests > REQUESTS_MAX {
            return Err(End::Refused("too many messages"));
        }
        match parsed {
            Ok(topics) => {
                self.subscription.subscribe(topics);
                Ok(())
            }
            Err(error) => write(outgoing, text(&LiveMessage::Error(error))).await,
        }
    }

    async fn pass_on(&self, drained: Drained, outgoing: &mut Outgoing) -> Result<(), End> {
        match drained {
            Drained::Messages(messages) => {
                let frames = messages.into_iter().filter_map(text_frame);
                write(outgoing, frames).await
            }
            Drained::Gap => {
                let snapshot = self.live.fleet.snapshot(&self.subscription.topics()).await;
                write(outgoing, text(&LiveMessage::Snapshot(snapshot))).await
            }
        }
    }
}

/// Hands over `frames` together; gives up a client that does not read them.
async fn write(
    outgoing: &mut Outgoing,
    frames: impl IntoIterator<Item = Message>,
) -> Result<(), End> {
    let writing = async {
        for frame in frames {
            outgoing.feed(frame).await?;
        }
        outgoing.flush().await
    };
    timeout(WRITE_MAX, writing).await.map_err(|_| End::Gone)??;
    Ok(())
}

fn text(message: &LiveMessage) -> Option<Message> {
    serde_json::to_vec(message)
        .ok()
        .and_then(|json| text_frame(json.into()))
}

/// Shares the bytes with every other connection.
fn text_frame(json: Bytes) -> Option<Message> {
    Utf8Bytes::try_from(json).ok().map(Message::Text)
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
