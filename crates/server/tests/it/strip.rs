//! A strip as a plain MQTT client.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

/// A connected client that speaks for one device.
pub(crate) struct Strip {
    pub(crate) id: String,
    pub(crate) client: AsyncClient,
    events: EventLoop,
}

impl Strip {
    /// Connects as `id`, announces itself with `sockets` sockets, all off, and
    /// listens for commands.
    pub(crate) async fn connect(server: &Server, id: &str, password: &str, sockets: u8) -> Self {
        let mut strip = Self::open(server, id, password);
        strip.until_connected().await;
        let topic = strip.topic("cmd");
        strip
            .client
            .subscribe(topic, QoS::AtLeastOnce)
            .await
            .unwrap();
        strip
            .until(|event| matches!(event, Event::Incoming(Packet::SubAck(_))))
            .await;
        let sockets: Vec<Value> = (1..=sockets)
            .map(|n| json!({"socketId": n, "on": false}))
            .collect();
        let status = json!({"online": true, "boot": 1, "conn": 1, "seq": 1, "sockets": sockets});
        strip.publish("status", &status).await;
        strip
    }

    /// Connects for the `conn`th time, with a will, and announces itself.
    /// Dropping the strip breaks the connection, as a power cut would.
    pub(crate) async fn online(server: &Server, id: &str, password: &str, conn: u32) -> Self {
        let mut options = options(server, id, password);
        let will = json!({"online": false, "boot": 1, "conn": conn}).to_string();
        let topic = format!("dorm/{id}/status");
        options.set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true));
        let mut strip = Self::new(id, options);
        strip.until_connected().await;
        let status = json!({"online": true, "boot": 1, "conn": conn, "seq": conn,
            "periodS": 5, "sockets": [{"socketId": 1, "on": true}]});
        strip.publish("status", &status).await;
        strip
    }

    /// Says goodbye as MQTT has it.
    pub(crate) async fn disconnect(mut self) {
        self.client.disconnect().await.unwrap();
        self.until(|event| matches!(event, Event::Outgoing(Outgoing::Disconnect)))
            .await;
    }

    /// A client that has not connected yet.
    pub(crate) fn open(server: &Server, id: &str, password: &str) -> Self {
        Self::new(id, options(server, id, password))
    }

    fn new(id: &str, options: MqttOptions) -> Self {
        let (client, events) = AsyncClient::new(options, 64);
        Self {
            id: id.to_owned(),
            client,
            events,
        }
    }

    /// The device's own topic.
    pub(crate) fn topic(&self, channel: &str) -> String {
        format!("dorm/{}/{channel}", self.id)
    }

    /// Publishes with QoS 1 and waits for the acknowledgement.
    pub(crate) async fn publish(&mut self, channel: &str, body: &Value) {
        let topic = self.topic(channel);
        self.client
            .publish(topic, QoS::AtLeastOnce, false, body.to_string())
            .await
            .unwrap();
        self.until(|event| matches!(event, Event::Incoming(Packet::PubAck(_))))
            .await;
    }

    /// The next command.
    pub(crate) async fn command(&mut self) -> Value {
        let event = self
            .until(|event| matches!(event, Event::Incoming(Packet::Publish(_))))
            .await;
        match &event {
            Event::Incoming(Packet::Publish(publish)) => {
                assert!(!publish.retain, "a command is never retained");
                serde_json::from_slice(&publish.payload).unwrap()
            }
            Event::Incoming(_) | Event::Outgoing(_) => panic!("not a publication: {event:?}"),
        }
    }

    /// Drives the connection until an event that `wanted` takes.
    pub(crate) async fn until(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let event = self.events.poll().await.unwrap();
                if wanted(&event) {
                    return event;
                }
            }
        });
        found.await.expect("the awaited packet comes in time")
    }

    /// Drives the connection until it is refused.
    pub(crate) async fn until_refused(&mut self) -> String {
        let refused = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Err(error) = self.events.poll().await {
                    return error.to_string();
                }
            }
        });
        refused.await.expect("the broker answers in time")
    }

    /// What a broker says to somebody that it does not let in; `None` where it
    /// lets it in.
    pub(crate) async fn refused_by(
        broker: (String, u16),
        id: &str,
        password: &str,
    ) -> Option<String> {
        let mut options = MqttOptions::new(id, broker.0, broker.1);
        options.set_credentials(id, password);
        let mut strip = Self::new(id, options);
        let answer = tokio::time::timeout(PATIENCE, strip.events.poll()).await;
        let answer = answer.expect("the broker answers in time");
        answer.err().map(|error| error.to_string())
    }

    async fn until_connected(&mut self) {
        self.until(|event| matches!(event, Event::Incoming(Packet::ConnAck(_))))
            .await;
    }
}

fn options(server: &Server, id: &str, password: &str) -> MqttOptions {
    let (host, port) = server.mqtt();
    let mut options = MqttOptions::new(id, host, port);
    options.set_credentials(id, password);
    options.set_keep_alive(Duration::from_secs(30));
    options
}
