//! A strip that obeys at once and remembers what it was told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{PATIENCE, Server};

/// How soon it connects again.
const RETRY: Duration = Duration::from_millis(100);

/// A strip with four sockets on the broker of a site.
pub(crate) struct Lamp {
    id: String,
    executed: Arc<Mutex<Vec<String>>>,
    client: AsyncClient,
    _network: JoinSet<()>,
}

impl Lamp {
    /// Connects, listens for commands, and says that it is there.
    pub(crate) async fn connect(node: &Server, id: &str, password: &str) -> Self {
        let broker = node.mqtt();
        Self::connect_to(broker, id, password).await
    }

    /// [`Lamp::connect`] to a broker's host and port.
    pub(crate) async fn connect_to(broker: (String, u16), id: &str, password: &str) -> Self {
        let mut options = MqttOptions::new(id, broker.0, broker.1);
        options.set_credentials(id, password);
        options.set_keep_alive(Duration::from_secs(5));
        options.set_clean_session(false);
        let (client, mut events) = AsyncClient::new(options, 64);
        client
            .subscribe(format!("dorm/{id}/cmd"), QoS::AtLeastOnce)
            .await
            .unwrap();
        let subscribed = async {
            // The broker may have to hear of the device first.
            while !matches!(events.poll().await, Ok(Event::Incoming(Packet::SubAck(_)))) {}
        };
        timeout(PATIENCE, subscribed).await.unwrap();
        let sockets: Vec<Value> = (1..=4)
            .map(|socket| json!({"socketId": socket, "on": false}))
            .collect();
        let status =
            json!({"online": true, "boot": 1, "conn": 1, "periodS": 300, "sockets": sockets});
        publish(&client, id, "status", &status).await;
        let executed = Arc::<Mutex<Vec<String>>>::default();
        let mut network = JoinSet::new();
        let obeying = obey(client.clone(), events, id.to_owned(), Arc::clone(&executed));
        network.spawn(obeying);
        Self {
            id: id.to_owned(),
            executed,
            client,
            _network: network,
        }
    }

    /// Says what it measures.
    pub(crate) async fn measure(&self, reading: &Value) {
        publish(&self.client, &self.id, "telemetry", reading).await;
    }

    /// The commands executed so far, repeats included.
    pub(crate) fn executed(&self) -> Vec<String> {
        self.executed.lock().unwrap().clone()
    }
}

async fn obey(
    client: AsyncClient,
    mut events: EventLoop,
    id: String,
    executed: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let publish = match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(publish))) => publish,
            Ok(_) => continue,
            // The broker is away: the session there outlives it.
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let command: Value = serde_json::from_slice(&publish.payload).unwrap();
        let command_id = command["cmdId"].as_str().unwrap();
        executed.lock().unwrap().push(command_id.to_owned());
        let ack = json!({"cmdId": command_id, "status": "success",
            "socketId": command["socketId"], "on": command["action"] == "on"});
        self::publish(&client, &id, "ack", &ack).await;
    }
}

async fn publish(client: &AsyncClient, id: &str, channel: &str, body: &Value) {
    let topic = format!("dorm/{id}/{channel}");
    client
        .publish(topic, QoS::AtLeastOnce, false, body.to_string())
        .await
        .unwrap();
}
