//! Moves bytes between a socket and a client's state.
//!
//! A future written by hand: one task per connection, no buffers while it is
//! idle, all that is ready done per wake-up, one write for all answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};
use tokio_util::io::poll_read_buf;

use super::client::Client;
use super::handshake::Accepted;
use super::{Transport, pool};
use crate::codec;
use crate::reasons::{Disconnect, KickReason};

/// With so many bytes waiting to be written, nothing more is produced.
pub(super) const HIGH_WATER_BYTES: usize = 64 * 1024;
/// Room for one read in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Turns of one poll before other tasks get theirs.
const TURNS: usize = 16;
/// Time for the last bytes to a client that is to go.
const FAREWELL: Duration = Duration::from_secs(1);

/// One connected client and its socket.
pub(super) struct Driver<T> {
    io: T,
    client: Client,
    /// Bytes read that are not yet a whole packet.
    input: BytesMut,
    /// Bytes that the socket has not taken yet.
    output: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the socket takes nothing though there is something.
    stalled_since: Option<Instant>,
}

/// What one turn came to.
enum Turn {
    /// There may be more to do.
    More,
    /// Everything waits for something.
    Idle,
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(io: T, accepted: Accepted) -> Self {
        Self {
            io,
            client: accepted.client,
            input: accepted.input,
            output: accepted.output,
            timer: None,
            stalled_since: None,
        }
    }

    /// Ends the connection: lets the session go, then says goodbye.
    pub(super) async fn finish(mut self, reason: Disconnect) {
        if reason == Disconnect::ServerStopping {
            // What was taken is acknowledged before we go.
            let client = &mut self.client;
            settle_until(client, &mut self.output, |client| client.window.len() == 0).await;
        }
        let reason = self.client.attachment.end(reason);
        if let Some(code) = reason.reason() {
            codec::disconnect(&mut self.output, code, self.client.agreed.protocol);
        }
        let Self {
            io,
            mut client,
            output,
            ..
        } = self;
        if reason == Disconnect::Kicked(KickReason::Revoked) {
            client.window.forget_messages();
        }
        // A client may have left on purpose right after publishing: what it
        // published is passed on though it will not hear of it.
        let mut nowhere = BytesMut::new();
        let linger = settle_until(&mut client, &mut nowhere, |client| {
            !client.window.has_messages()
        });
        tokio::join!(farewell(io, output), linger);
    }

    fn turns(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Poll<Disconnect> {
        for _ in 0..TURNS {
            match self.turn(context, input, output) {
                Err(reason) => return Poll::Ready(reason),
                Ok(Turn::More) => {}
                Ok(Turn::Idle) => {
                    if self.client.attachment.link.try_sleep() {
                        return self.poll_timer(context, output);
                    }
                }
            }
            self.client.attachment.link.look_again();
        }
        context.waker().wake_by_ref();
        self.client.attachment.link.give_way();
        Poll::Pending
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<Turn, Disconnect> {
        if let Some(reason) = self.client.attachment.link.closing() {
            return Err(reason);
        }
        let now = Instant::now();
        self.client.settle(output, now)?;
        let stopped = self.client.consume(input, output, now)?;
        self.client.settle(output, now)?;
        self.client.pump(output, now);
        self.write(context, output, now)?;
        if self.client.is_paused(output) {
            // Nobody is silent while it is us who do not listen.
            self.client.last_read = now;
            return Ok(Turn::Idle);
        }
        if stopped {
            return Ok(Turn::More);
        }
        self.read(context, input, now)
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<Turn, Disconnect> {
        if input.capacity() - input.len() < READ_BYTES / 8 {
            input.reserve(READ_BYTES);
        }
        match poll_read_buf(Pin::new(&mut self.io), context, input) {
            Poll::Pending => Ok(Turn::Idle),
            Poll::Ready(Ok(0) | Err(_)) => Err(Disconnect::ConnectionLost),
            Poll::Ready(Ok(count)) => {
                self.client.last_read = now;
                self.client.tally.bytes_in += count as u64;
                Ok(Turn::More)
            }
        }
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        output: &mut BytesMut,
        now: Instant,
    ) -> Result<(), Disconnect> {
        while !output.is_empty() {
            match Pin::new(&mut self.io).poll_write(context, output) {
                Poll::Pending => {
                    self.stalled_since.get_or_insert(now);
                    return Ok(());
                }
                Poll::Ready(Ok(0) | Err(_)) => return Err(Disconnect::ConnectionLost),
                Poll::Ready(Ok(count)) => {
                    output.advance(count);
                    self.client.tally.bytes_out += count as u64;
                    self.stalled_since = None;
                }
            }
        }
        // A transport that buffers goes on with this by itself once asked.
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Ready(Err(_)) => Err(Disconnect::ConnectionLost),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_timer(&mut self, context: &mut Context<'_>, output: &BytesMut) -> Poll<Disconnect> {
        loop {
            let now = Instant::now();
            if let Some(reason) = self.overdue(now, output) {
                return Poll::Ready(reason);
            }
            let Some(at) = self.next_deadline() else {
                return Poll::Pending;
            };
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            // One that is too early is not moved with every packet: it fires,
            // finds nothing overdue, and is set anew.
            if timer.deadline() > at || timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn silent_at(&self) -> Option<Instant> {
        Some(self.client.last_read + self.client.agreed.silence?)
    }

    fn stuck_at(&self) -> Option<Instant> {
        Some(self.stalled_since? + self.client.attachment.shared.limits.write_timeout)
    }

    fn next_deadline(&self) -> Option<Instant> {
        [self.silent_at(), self.stuck_at(), self.client.ack_deadline]
            .into_iter()
            .flatten()
            .min()
    }

    fn overdue(&mut self, now: Instant, output: &BytesMut) -> Option<Disconnect> {
        if self.stuck_at().is_some_and(|at| at <= now) {
            return Some(Disconnect::SlowConsumer);
        }
        if self.client.is_ack_overdue(now) {
            return Some(Disconnect::AckOverdue);
        }
        if self.client.is_paused(output) {
            self.client.last_read = now;
        }
        self.silent_at()
            .is_some_and(|at| at <= now)
            .then_some(Disconnect::KeepAliveTimeout)
    }
}

impl<T: Transport> Future for Driver<T> {
    type Output = Disconnect;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Disconnect> {
        let this = self.get_mut();
        this.client.attachment.link.wake_up(context.waker());
        let mut input = pool::borrow(&mut this.input);
        let mut output = pool::borrow(&mut this.output);
        let result = this.turns(context, &mut input, &mut output);
        pool::give_back(&mut this.input, input);
        pool::give_back(&mut this.output, output);
        this.client.flush_tally();
        result
    }
}

/// Sends the last bytes and closes, so that the client gets to read them: what
/// it still sends is read and thrown away until it closes too.
pub(super) async fn farewell(mut io: impl AsyncRead + AsyncWrite + Unpin, last: BytesMut) {
    let goodbye = async {
        io.write_all(&last).await?;
        io.shutdown().await?;
        let mut rest = [0; 1024];
        for _ in 0..64 {
            if io.read(&mut rest).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whether it worked makes no difference: the connection is over.
    let _ = tokio::time::timeout(FAREWELL, goodbye).await;
}

/// Waits for commits, and acknowledges and passes on what is committed, until
/// `done`; for [`Limits::linger`](crate::Limits::linger) at most. What is not
/// committed by then is never acknowledged.
async fn settle_until(client: &mut Client, out: &mut BytesMut, done: fn(&Client) -> bool) {
    let limit = client.attachment.shared.limits.linger;
    let link = client.attachment.link.clone();
    let settled = std::future::poll_fn(|context| {
        link.wake_up(context.waker());
        loop {
            let failed = client.settle(out, Instant::now()).is_err();
            if failed || done(client) {
                return Poll::Ready(());
            }
            if link.try_sleep() {
                return Poll::Pending;
            }
            link.look_again();
        }
    });
    // Running out of time is one way to be done.
    let _ = tokio::time::timeout(limit, settled).await;
}
