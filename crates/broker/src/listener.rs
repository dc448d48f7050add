//! Accepts TCP connections, no faster than allowed and no more than allowed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::admission::Pace;
use crate::connection::{self, Transport};
use crate::hooks::Attempt;
use crate::reasons::Refusal;
use crate::shared::Shared;
use crate::stats::count;

/// Connections that the system holds until they are accepted: a fleet coming
/// back after a power cut comes at once.
const BACKLOG: u32 = 4096;
/// Pause after the system refused to accept, mostly for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds one address; the port may be 0.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    // Inherited by accepted connections: in the end it finds the dead peer of a
    // client that asked for no MQTT keep-alive.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until the broker stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let mut pace = Pace::new(&shared.limits, Instant::now());
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let pause = match accepted {
            Ok((stream, peer)) => {
                take(&shared, stream, peer);
                pace.take(Instant::now())
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                ACCEPT_PAUSE
            }
        };
        if !pause.is_zero() {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn take(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    // Acknowledgements are small and must not wait for more; they are written
    // in batches anyway. A socket that refuses is still usable.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "cannot set TCP_NODELAY");
    }
    // The refusal has been reported; nobody else wants to know.
    let _ = serve(shared, stream, peer);
}

/// Serves one connection on a task of its own, if there is a place for it.
pub(crate) fn serve<T: Transport>(
    shared: &Arc<Shared>,
    io: T,
    peer: SocketAddr,
) -> Result<(), Refusal> {
    match shared.admission.enter(peer.ip()) {
        Ok(place) => {
            count(&shared.counters.connects, 1);
            shared
                .tasks
                .spawn(connection::serve(shared.clone(), io, peer, place));
            Ok(())
        }
        Err(refusal) => {
            count(&shared.counters.refused, 1);
            let attempt = Attempt {
                peer,
                client_id: None,
                username: None,
            };
            shared.hooks.refused(&attempt, &refusal);
            Err(refusal)
        }
    }
}
