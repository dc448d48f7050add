//! A small MQTT client for devices: one connection, no task and no queue of its
//! own, so that thousands fit in one process.

mod packet;

use std::io;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) use packet::{Codec, Hello, Incoming, Version};

/// The longest wait for TCP, for CONNACK, and for a write to be taken.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The network failed.
    #[error("network: {0}")]
    Io(#[from] io::Error),
    /// The broker took too long.
    #[error("the broker did not answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// The broker refused the connection with this code of CONNACK.
    #[error("connection refused with code {0}")]
    Refused(u8),
    /// The broker closed the connection; with a reason code in MQTT 5.
    #[error("closed by the broker{}", .0.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Closed(Option<u8>),
    /// The broker sent bytes that are no packet.
    #[error("malformed packet: {0}")]
    Malformed(#[from] rmqtt_codec::error::DecodeError),
    /// A packet could not be encoded.
    #[error("packet cannot be sent: {0}")]
    Encode(#[from] rmqtt_codec::error::EncodeError),
    /// The broker sent a packet that only clients send.
    #[error("the broker sent a packet that makes no sense from a broker")]
    Unexpected,
}

/// One MQTT connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    codec: Codec,
    input: BytesMut,
    output: BytesMut,
    last_id: u16,
}

impl Link {
    /// Connects to `broker` (`host:port`) and waits for CONNACK.
    pub(crate) async fn connect(broker: &str, hello: &Hello) -> Result<Self, LinkError> {
        timeout(PATIENCE, Self::connect_patiently(broker, hello))
            .await
            .map_err(|_| LinkError::Timeout)?
    }

    async fn connect_patiently(broker: &str, hello: &Hello) -> Result<Self, LinkError> {
        let stream = TcpStream::connect(broker).await?;
        stream.set_nodelay(true)?;
        let mut link = Self {
            stream,
            codec: Codec::new(hello.version),
            input: BytesMut::with_capacity(512),
            output: BytesMut::with_capacity(1024),
            last_id: 0,
        };
        link.codec.connect(hello, &mut link.output)?;
        link.flush().await?;
        match link.next().await? {
            Incoming::Connected { code: 0 } => Ok(link),
            Incoming::Connected { code } => Err(LinkError::Refused(code)),
            Incoming::Closed { code } => Err(LinkError::Closed(Some(code))),
            Incoming::Message { .. }
            | Incoming::Acknowledged { .. }
            | Incoming::Subscribed { .. }
            | Incoming::Pong => Err(LinkError::Unexpected),
        }
    }

    /// Waits for the next packet. May be dropped and called again at any time.
    pub(crate) async fn next(&mut self) -> Result<Incoming, LinkError> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input)? {
                return Ok(packet);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(LinkError::Closed(None));
            }
        }
    }

    /// The next packet that has already been read.
    pub(crate) fn buffered(&mut self) -> Result<Option<Incoming>, LinkError> {
        self.codec.decode(&mut self.input)
    }

    /// Waits until the message `wanted` is acknowledged; other packets are ignored.
    pub(crate) async fn until_acknowledged(&mut self, wanted: NonZeroU16) -> Result<(), LinkError> {
        timeout(PATIENCE, async {
            loop {
                if matches!(self.next().await?, Incoming::Acknowledged { id, .. } if id == wanted) {
                    return Ok(());
                }
            }
        })
        .await
        .map_err(|_| LinkError::Timeout)?
    }

    /// The bare connection, for whoever goes on without this client; nothing
    /// may be expected from the broker at this moment.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Queues a message at QoS 1 and returns its packet id.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        retain: bool,
    ) -> Result<NonZeroU16, LinkError> {
        let id = self.next_id();
        self.codec
            .publish(topic, payload, retain, Some(id), &mut self.output)?;
        Ok(id)
    }

    /// Queues a message at QoS 0.
    pub(crate) fn publish_qos0(&mut self, topic: &str, payload: Vec<u8>) -> Result<(), LinkError> {
        self.codec
            .publish(topic, payload, false, None, &mut self.output)
    }

    /// Queues a subscription at QoS 1 and returns its packet id.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<NonZeroU16, LinkError> {
        let id = self.next_id();
        self.codec.subscribe(filter, id, &mut self.output)?;
        Ok(id)
    }

    /// Queues the acknowledgement of a message.
    pub(crate) fn acknowledge(&mut self, id: NonZeroU16) -> Result<(), LinkError> {
        self.codec.acknowledge(id, &mut self.output)
    }

    /// Queues a PINGREQ.
    pub(crate) fn ping(&mut self) {
        Codec::ping(&mut self.output);
    }

    /// Sends everything that is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), LinkError> {
        if self.output.is_empty() {
            return Ok(());
        }
        timeout(PATIENCE, self.stream.write_all_buf(&mut self.output))
            .await
            .map_err(|_| LinkError::Timeout)??;
        Ok(())
    }

    /// Says goodbye, which withdraws the will, and closes.
    pub(crate) async fn close(mut self) -> Result<(), LinkError> {
        Codec::disconnect(&mut self.output);
        self.flush().await?;
        self.stream.shutdown().await?;
        Ok(())
    }

    fn next_id(&mut self) -> NonZeroU16 {
        self.last_id = self.last_id.wrapping_add(1);
        NonZeroU16::new(self.last_id).unwrap_or_else(|| {
            self.last_id = 1;
            NonZeroU16::MIN
        })
    }
}
