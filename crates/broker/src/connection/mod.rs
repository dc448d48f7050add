//! One connection: from the accepted socket to its end.
//!
//! ```text
//! accepted ─► handshake ─► driver ─► detach ─► farewell ─► linger
//!             (CONNECT,     (packets   (hooks,   (flush,     (commits
//!              hooks,        both       will,     FIN)        of a client
//!              takeover)     ways)      session)              that left)
//! ```
//!
//! What a packet does is in [`client`], [`inbound`] and [`outbound`], which turn
//! bytes into bytes and know no socket; [`driver`] moves the bytes.

mod aliases;
mod client;
mod driver;
mod end;
mod handshake;
mod inbound;
mod outbound;
mod pool;
mod subscribe;
mod window;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::admission::Place;
use crate::shared::Shared;
use driver::Driver;

/// A byte stream that MQTT can run on.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for T {}

/// Serves one connection to its end.
pub(crate) async fn serve<T: Transport>(
    shared: Arc<Shared>,
    mut io: T,
    peer: SocketAddr,
    place: Place,
) {
    // Boxed, so that a settled connection does not keep the handshake's room.
    let accepted = Box::pin(handshake::run(&shared, &mut io, peer)).await;
    let Some(accepted) = accepted else {
        return;
    };
    let mut driver = Driver::new(io, accepted);
    let reason = (&mut driver).await;
    Box::pin(driver.finish(reason)).await;
    drop(place);
}
