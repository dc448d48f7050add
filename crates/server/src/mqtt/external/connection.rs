//! One open MQTT session: what comes in, in order, and what goes out.
//!
//! Reading, acknowledging and publishing share one task and do not wait for
//! each other: what is to be written is put into a buffer, which is written
//! while the next packet is awaited.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until, timeout};

use super::dial::Stream;
use super::problem::LinkError;
use super::window::{Ticket, Window};
use super::wire::{Codec, Hello, Incoming, Message, Version, Welcome};

/// Messages that may wait for their receipts; behind it nothing more is read.
/// In MQTT 5 the broker sends no more than that, before it keeps its own limit.
pub(super) const WINDOW: NonZeroU16 = NonZeroU16::MIN.saturating_add(8_191);
/// Packets that are looked at before what is to be written is written.
const TURN: usize = 128;
/// Room for reading, bytes.
const READ: usize = 64 * 1024;
/// How long a last word may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// The identifiers of our SUBSCRIBE and UNSUBSCRIBE, of each of which one is
/// on its way at most; messages use those below.
const SUBSCRIBE_ID: NonZeroU16 = NonZeroU16::MAX;
const UNSUBSCRIBE_ID: NonZeroU16 = NonZeroU16::MIN.saturating_add(MESSAGE_IDS);
/// How many identifiers messages have, from 1.
pub(super) const MESSAGE_IDS: u16 = u16::MAX - 2;

/// What a broker says in an open session.
#[derive(Debug)]
pub(super) enum Event {
    /// A message; with a ticket where the broker waits for its acknowledgement.
    Message(Message, Option<Box<Ticket>>),
    /// A message of ours arrived there, or was refused with a reason.
    Taken {
        id: NonZeroU16,
        refused: Option<u8>,
    },
    /// What became of each filter.
    Subscribed(Vec<Result<(), u8>>),
    Unsubscribed,
}

/// An open session. Dropping it breaks the connection.
pub(super) struct Connection {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    codec: Codec,
    input: BytesMut,
    out: BytesMut,
    window: Arc<Window>,
    /// Packets left in this turn.
    turn: usize,
    keep_alive: Duration,
    /// When something was heard last.
    heard: Instant,
    ping_at: Instant,
    /// Whether what was written may still wait inside the stream.
    unflushed: bool,
    welcome: Welcome,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(
        stream: Box<dyn Stream>,
        codec: Codec,
        input: BytesMut,
        hello: &Hello,
        welcome: Welcome,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        let keep_alive = welcome.keep_alive.unwrap_or(hello.keep_alive);
        // A broker may switch it off, by 0.
        let keep_alive = if keep_alive.is_zero() {
            hello.keep_alive
        } else {
            keep_alive
        };
        Self {
            reader,
            writer,
            codec,
            input,
            out: BytesMut::new(),
            window: Arc::default(),
            turn: TURN,
            keep_alive,
            heard: now,
            ping_at: now + keep_alive / 2,
            unflushed: false,
            welcome,
        }
    }

    /// Whether the broker had kept the session.
    pub(super) const fn session_present(&self) -> bool {
        self.welcome.session_present
    }

    /// How many messages of ours may be on their way to the broker.
    pub(super) const fn receive_max(&self) -> u16 {
        self.welcome.receive_max
    }

    pub(super) const fn version(&self) -> Version {
        self.codec.version()
    }

    /// The messages that wait for their receipts.
    pub(super) fn window(&self) -> Arc<Window> {
        Arc::clone(&self.window)
    }

    /// How many they are.
    pub(super) fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// Asks for subscriptions, with what is retained there if `replay`;
    /// [`Event::Subscribed`] answers.
    pub(super) fn subscribe(&mut self, filters: &[String], replay: bool) -> Result<(), LinkError> {
        self.codec
            .subscribe(filters, replay, SUBSCRIBE_ID, &mut self.out)
    }

    /// Ends subscriptions; [`Event::Unsubscribed`] answers.
    pub(super) fn unsubscribe(&mut self, filters: &[String]) -> Result<(), LinkError> {
        self.codec
            .unsubscribe(filters, UNSUBSCRIBE_ID, &mut self.out)
    }

    /// Sends a message of QoS 1; [`Event::Taken`] answers. `again` where it
    /// was sent before.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        payload: &Bytes,
        (id, again): (NonZeroU16, bool),
        expiry: Duration,
    ) -> Result<(), LinkError> {
        self.codec
            .publish(topic, payload, (id, again), expiry, &mut self.out)
    }

    /// What the broker says next; unless `listening`, nothing: then it only
    /// writes what is to be written. Cancelling it loses nothing.
    ///
    /// # Errors
    /// When the session is over.
    pub(super) async fn next(&mut self, listening: bool) -> Result<Event, LinkError> {
        loop {
            if listening && let Some(event) = self.ready()? {
                return Ok(event);
            }
            // More packets may be here already.
            let more = listening && self.turn == 0;
            self.turn = TURN;
            self.step(more, listening && !self.is_full()).await?;
        }
    }

    /// What the broker said already; `None` where nothing is here, or it is
    /// time for [`Self::next`].
    ///
    /// # Errors
    /// When the session is over.
    pub(super) fn ready(&mut self) -> Result<Option<Event>, LinkError> {
        while self.turn > 0 && !self.is_full() {
            let Some(incoming) = self.codec.decode(&mut self.input)? else {
                break;
            };
            self.turn -= 1;
            if let Some(event) = self.event(incoming)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.window.len() >= usize::from(WINDOW.get())
    }

    /// Acknowledges, writes, reads, or pings; whichever can be done first.
    async fn step(&mut self, more: bool, listening: bool) -> Result<(), LinkError> {
        self.collect()?;
        let reads = listening && !more;
        if reads {
            self.input.reserve(READ);
        }
        if !listening {
            // Nobody can be heard by one who does not listen.
            self.heard = Instant::now();
        }
        let silent_at = self.heard + self.keep_alive * 3 / 2;
        let has_output = !self.out.is_empty();
        let (writer, out) = (&mut self.writer, &mut self.out);
        let written = async {
            if has_output {
                writer.write_buf(out).await.map(|_| true)
            } else {
                writer.flush().await.map(|()| false)
            }
        };
        tokio::select! {
            biased;
            written = written, if has_output || self.unflushed => {
                // A stream may keep what was written until it is flushed.
                self.unflushed = written?;
            }
            read = self.reader.read_buf(&mut self.input), if reads => {
                if read? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
                self.heard = Instant::now();
            }
            () = self.window.moved() => {}
            () = std::future::ready(()), if more => {}
            () = sleep_until(self.ping_at) => {
                Codec::ping(&mut self.out);
                self.ping_at = Instant::now() + self.keep_alive / 2;
            }
            () = sleep_until(silent_at), if listening => {
                return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
            }
        }
        Ok(())
    }

    /// Puts the acknowledgements that are due into the buffer.
    fn collect(&mut self) -> Result<(), LinkError> {
        let (codec, out) = (&self.codec, &mut self.out);
        self.window
            .settle(|id, refused| codec.acknowledge(id, refused, out))
            .map_err(|_| LinkError::NotKept)
    }

    fn event(&mut self, incoming: Incoming) -> Result<Option<Event>, LinkError> {
        Ok(Some(match incoming {
            Incoming::Message(message) => {
                let ticket = message.id.map(|id| Box::new(self.window.admit(id)));
                Event::Message(message, ticket)
            }
            Incoming::Taken { id, refused } => Event::Taken { id, refused },
            Incoming::Subscribed(outcomes) => Event::Subscribed(outcomes),
            Incoming::Unsubscribed => Event::Unsubscribed,
            Incoming::Pong => return Ok(None),
            Incoming::Closed { code } => return Err(LinkError::Closed(code)),
            Incoming::Welcome(_) | Incoming::Unwelcome { .. } => {
                return Err(LinkError::Unexpected("a second CONNACK"));
            }
        }))
    }

    /// Listens no more, and waits until every message has its acknowledgement.
    ///
    /// # Errors
    /// When the session is over, or a message could not be kept.
    pub(super) async fn settle(&mut self) -> Result<(), LinkError> {
        while self.window.len() > 0 {
            self.step(false, false).await?;
        }
        Ok(())
    }

    /// Acknowledges what may be acknowledged and says goodbye; with `forget`
    /// the broker ends the session (MQTT 5).
    pub(super) async fn close(mut self, forget: bool) {
        // Behind a message that was not kept nothing is acknowledged.
        self.collect().ok();
        self.codec.disconnect(forget, &mut self.out);
        let farewell = async {
            self.writer.write_all_buf(&mut self.out).await?;
            self.writer.flush().await?;
            // Closing with something unread would reset the connection, and
            // the broker might never read what was written.
            loop {
                self.input.clear();
                if self.reader.read_buf(&mut self.input).await? == 0 {
                    return self.writer.shutdown().await;
                }
            }
        };
        // The broker gets by without it.
        timeout(FAREWELL, farewell).await.ok();
    }
}
