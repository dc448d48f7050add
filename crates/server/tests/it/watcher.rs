//! Somebody who watches the page live.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{PATIENCE, Server};

/// A watcher whose snapshot has come.
pub(crate) struct Watcher(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Watcher {
    pub(crate) async fn of(server: &Server, topics: &[&str]) -> (Self, Value) {
        let url = format!("{}/api/v1/live", server.http().replace("http", "ws"));
        let mut request = url.into_client_request().unwrap();
        let token = format!("Bearer {}", server.token).parse().unwrap();
        request.headers_mut().insert("authorization", token);
        let mut watcher = Self(connect_async(request).await.unwrap().0);
        let subscribe = json!({"type": "subscribe", "topics": topics}).to_string();
        watcher.0.send(Message::text(subscribe)).await.unwrap();
        let snapshot = watcher.next("snapshot").await;
        (watcher, snapshot)
    }

    /// The next message of type `kind`.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        self.next_of(&[kind]).await
    }

    /// The next message of one of these types.
    pub(crate) async fn next_of(&mut self, kinds: &[&str]) -> Value {
        let waiting = async {
            loop {
                let frame = self.0.next().await.unwrap().unwrap();
                let Ok(text) = frame.to_text() else { continue };
                match serde_json::from_str::<Value>(text) {
                    Ok(message) if kinds.iter().any(|it| message["type"] == *it) => return message,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no {kinds:?} in time"))
    }
}
