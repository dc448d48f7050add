//! A client that speaks bytes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{NEVER, SOON};
use crate::wire::{self, Packet, Props, Publish, V5};

/// What a test's client talks through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client that sends and reads packets as they are.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) level: u8,
    buffer: Vec<u8>,
    next_id: u16,
}

impl Client {
    pub(crate) fn new(stream: Box<dyn Stream>, level: u8) -> Self {
        Self {
            stream,
            level,
            buffer: Vec::new(),
            next_id: 1,
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next packet, if one comes so soon.
    pub(crate) async fn next_within(&mut self, limit: Duration) -> Option<Packet> {
        timeout(limit, self.read()).await.ok().flatten()
    }

    /// The next packet; panics if the broker closes or stays silent.
    pub(crate) async fn next(&mut self) -> Packet {
        self.next_or_end()
            .await
            .expect("the broker closed the connection")
    }

    /// The next packet, `None` if the broker closes the connection.
    pub(crate) async fn next_or_end(&mut self) -> Option<Packet> {
        timeout(SOON, self.read())
            .await
            .expect("the broker stays silent")
    }

    /// Nothing comes, for a while.
    pub(crate) async fn expect_silence(&mut self) {
        if let Ok(packet) = timeout(NEVER, self.read()).await {
            panic!("expected silence, got {packet:?}");
        }
    }

    /// The connection is closed, with this DISCONNECT before if it is MQTT 5.
    pub(crate) async fn expect_end(&mut self, reason: u8) {
        if self.level == V5 {
            let packet = self.next_or_end().await;
            assert_eq!(packet, Some(Packet::Disconnect { reason }));
        }
        assert_eq!(self.next_or_end().await, None);
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = wire::decode(&mut self.buffer, self.level) {
                return Some(packet);
            }
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub(crate) async fn publish(&mut self, publish: Publish) {
        let bytes = publish.bytes(self.level);
        self.send(&bytes).await;
    }

    /// Publishes with QoS 1 or 2 to the end of the exchange.
    pub(crate) async fn publish_fully(&mut self, topic: &str, payload: &str, qos: u8) {
        let id = self.id();
        self.publish(Publish::new(topic, payload).qos(qos, id))
            .await;
        if qos == 1 {
            self.expect_answer(4, id).await;
        } else if qos == 2 {
            self.expect_answer(5, id).await;
            self.send(&wire::answer(6, id)).await;
            self.expect_answer(7, id).await;
        }
    }

    pub(crate) async fn expect_answer(&mut self, kind: u8, id: u16) {
        let reason = 0;
        assert_eq!(self.next().await, Packet::Answer { kind, id, reason });
    }

    /// Subscribes to one filter; returns the code.
    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        self.subscribe_with(filter, options, &Props::none()).await
    }

    pub(crate) async fn subscribe_with(&mut self, filter: &str, options: u8, props: &Props) -> u8 {
        let id = self.id();
        let bytes = wire::subscribe(self.level, id, &[(filter, options)], props);
        self.send(&bytes).await;
        match self.next().await {
            Packet::SubAck { id: other, codes } => {
                assert_eq!((other, codes.len()), (id, 1));
                codes[0]
            }
            other => panic!("expected SUBACK, got {other:?}"),
        }
    }

    /// The next packet, which must be a PUBLISH; it is acknowledged in full.
    pub(crate) async fn message(&mut self) -> Publish {
        let publish = self.raw_message().await;
        match publish.qos {
            1 => self.send(&wire::answer(4, publish.id)).await,
            2 => {
                self.send(&wire::answer(5, publish.id)).await;
                self.expect_answer(6, publish.id).await;
                self.send(&wire::answer(7, publish.id)).await;
            }
            _ => {}
        }
        publish
    }

    /// The next packet, which must be a PUBLISH; it is not acknowledged.
    pub(crate) async fn raw_message(&mut self) -> Publish {
        match self.next().await {
            Packet::Publish(publish) => publish,
            other => panic!("expected PUBLISH, got {other:?}"),
        }
    }

    /// Asks for a PINGRESP: everything sent before has been taken.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xC0, 0]).await;
        assert_eq!(self.next().await, Packet::Pong);
    }

    /// Says goodbye and waits for the broker to close.
    pub(crate) async fn leave(mut self) {
        self.send(&[0xE0, 0]).await;
        while self.next_or_end().await.is_some() {}
    }

    pub(crate) fn id(&mut self) -> u16 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}
