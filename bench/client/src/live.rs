//! The live socket, read message by message.

use anyhow::{Context as _, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use uuid::Uuid;

use crate::http::Server;

/// The parts of live messages that are measured.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LiveMessage {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) device_id: Option<String>,
    pub(crate) cmd_id: Option<Uuid>,
    pub(crate) state: Option<String>,
    #[serde(default)]
    pub(crate) samples: Vec<Stamp>,
}

/// When a sample was measured.
#[derive(Debug, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) ts: i64,
}

/// A subscribed socket.
#[derive(Debug)]
pub(crate) struct Live {
    socket: WebSocketStream<TcpStream>,
}

impl Live {
    /// Connects, subscribes to `topics` and waits for the snapshot.
    pub(crate) async fn subscribe(server: &Server, topics: &[&str]) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.address).await?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{}/api/v1/live", server.address).into_client_request()?;
        let bearer = format!("Bearer {}", server.token).parse()?;
        request.headers_mut().insert("authorization", bearer);
        let (socket, _) = client_async(request, stream).await.context("live socket")?;
        let mut live = Self { socket };
        let subscribe = serde_json::json!({"type": "subscribe", "topics": topics});
        live.socket
            .send(Message::text(subscribe.to_string()))
            .await?;
        loop {
            match live.next().await?.kind.as_str() {
                "snapshot" => return Ok(live),
                "error" => bail!("the subscription was refused"),
                _ => {}
            }
        }
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> anyhow::Result<LiveMessage> {
        loop {
            let message = self
                .socket
                .next()
                .await
                .context("the live socket ended")??;
            match message {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(_) => bail!("the server closed the live socket"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
