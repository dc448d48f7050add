//! Clients that other people wrote. Mosquitto's must be installed
//! (`mosquitto-clients`); Python and Node.js must be, and get their clients
//! installed into the build folder by `tests/clients/setup`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dormouse_broker::Limits;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::harness::{SOON, TestBroker};

/// The longest a client's whole run may take, installing it included.
const RUN: Duration = Duration::from_secs(180);

async fn broker() -> TestBroker {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    broker.hooks.deny("paho/nosubscribe");
    broker
}

/// Runs a command to its end; returns what it printed.
async fn run(command: &mut Command) -> String {
    let name = format!("{:?}", command.as_std().get_program());
    let running = command.kill_on_drop(true).stdin(Stdio::null()).output();
    let output = timeout(RUN, running).await;
    let output = output.unwrap_or_else(|_| panic!("{name} does not end"));
    let output = output.unwrap_or_else(|error| panic!("{name} must be installed: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{name}: {}\n{text}\n{errors}",
        output.status
    );
    text
}

fn mosquitto(name: &str, broker: &TestBroker, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    let port = broker.address.port().to_string();
    command
        .args(["-h", "127.0.0.1", "-p", &port])
        .args(arguments);
    command
}

fn subscriber(broker: &TestBroker, arguments: &[&str]) -> Child {
    mosquitto("mosquitto_sub", broker, arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("mosquitto_sub must be installed (package mosquitto-clients)")
}

async fn lines(child: Child) -> Vec<String> {
    let output = timeout(SOON, child.wait_with_output()).await;
    let output = output.expect("mosquitto_sub does not end").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn mosquitto_s_clients_of_either_version() {
    let broker = broker().await;
    for version in ["mqttv311", "mqttv5"] {
        let arguments = [
            "-V", version, "-t", "m/#", "-q", "2", "-C", "3", "-F", "%t %q %p",
        ];
        let child = subscriber(&broker, &arguments);
        broker
            .until("subscribed", |b| {
                b.handle.sessions().iter().any(|s| s.subscriptions == 1)
            })
            .await;
        for qos in ["0", "1", "2"] {
            let arguments = ["-V", version, "-t", "m/x", "-q", qos, "-m", "hello"];
            run(&mut mosquitto("mosquitto_pub", &broker, &arguments)).await;
        }
        assert_eq!(
            lines(child).await,
            ["m/x 0 hello", "m/x 1 hello", "m/x 2 hello"]
        );
        broker
            .until("gone", |b| b.handle.stats().connections == 0)
            .await;
    }
    // Retained, read by the other version, and removed.
    let keep = ["-V", "mqttv5", "-t", "r/x", "-r", "-q", "1", "-m", "kept"];
    run(&mut mosquitto("mosquitto_pub", &broker, &keep)).await;
    let read = ["-V", "mqttv311", "-t", "r/+", "-C", "1", "-F", "%r %p"];
    assert_eq!(lines(subscriber(&broker, &read)).await, ["1 kept"]);
    let clear = ["-t", "r/x", "-r", "-n", "-q", "1"];
    run(&mut mosquitto("mosquitto_pub", &broker, &clear)).await;
    assert_eq!(broker.handle.stats().retained, 0);
}

#[tokio::test]
async fn mosquitto_s_will_and_credentials() {
    let broker = broker().await;
    let watching = subscriber(&broker, &["-t", "w/#", "-C", "1", "-F", "%p"]);
    let subscribed = |count| {
        move |b: &TestBroker| {
            b.handle
                .sessions()
                .iter()
                .filter(|s| s.subscriptions == 1)
                .count()
                == count
        }
    };
    broker.until("watching", subscribed(1)).await;
    let will = [
        "-t",
        "x",
        "--will-topic",
        "w/x",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
    ];
    let mut dying = subscriber(&broker, &will);
    broker.until("both", subscribed(2)).await;
    dying.start_kill().unwrap();
    assert_eq!(lines(watching).await, ["gone"]);
    for version in ["mqttv311", "mqttv5"] {
        let wrong = [
            "-V", version, "-t", "t", "-m", "x", "-u", "someone", "-P", "wrong",
        ];
        let output = mosquitto("mosquitto_pub", &broker, &wrong)
            .output()
            .await
            .unwrap();
        assert!(!output.status.success());
        let right = [
            "-V", version, "-t", "t", "-m", "x", "-u", "someone", "-P", "secret",
        ];
        run(&mut mosquitto("mosquitto_pub", &broker, &right)).await;
    }
}

#[tokio::test]
async fn rumqttc_of_mqtt_3_1_1() {
    let broker = broker().await;
    let options = MqttOptions::new("rumqttc", "127.0.0.1", broker.address.port());
    let (client, mut events) = AsyncClient::new(options, 100);
    client.subscribe("r/#", QoS::ExactlyOnce).await.unwrap();
    let mut seen = Vec::new();
    let listen = async {
        while seen.len() < 30 {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::SubAck(_)) => {
                    for number in 0..30_usize {
                        let qos = rumqttc::qos(u8::try_from(number % 3).unwrap()).unwrap();
                        let text = number.to_string();
                        client.try_publish("r/x", qos, false, text).unwrap();
                    }
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let text = std::str::from_utf8(&publish.payload).unwrap();
                    seen.push(text.parse::<usize>().unwrap());
                }
                _ => {}
            }
        }
    };
    timeout(SOON, listen).await.unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..30));
}

#[tokio::test]
async fn rumqttc_of_mqtt_5() {
    use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions};
    let broker = broker().await;
    let options = MqttOptions::new("rumqttc5", "127.0.0.1", broker.address.port());
    let (client, mut events) = AsyncClient::new(options, 100);
    client
        .subscribe("$share/g/r/#", QoS5::AtLeastOnce)
        .await
        .unwrap();
    let mut seen = 0;
    let listen = async {
        while seen < 20 {
            match events.poll().await.unwrap() {
                Event::Incoming(Incoming::SubAck(_)) => {
                    for _ in 0..20 {
                        client
                            .try_publish("r/x", QoS5::ExactlyOnce, false, "x")
                            .unwrap();
                    }
                }
                Event::Incoming(Incoming::Publish(_)) => seen += 1,
                _ => {}
            }
        }
    };
    timeout(SOON, listen).await.unwrap();
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Where the clients of other languages are installed.
async fn installed() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("broker-clients");
    run(Command::new(clients().join("setup")).arg(&folder)).await;
    folder
}

#[tokio::test]
async fn paho_for_python_of_either_version() {
    let folder = installed().await;
    for level in ["4", "5"] {
        let broker = broker().await;
        let printed = run(Command::new(folder.join("python/bin/python"))
            .arg(clients().join("paho_client.py"))
            .arg(broker.address.port().to_string())
            .arg(level))
        .await;
        assert!(printed.matches("ok ").count() >= 7, "{printed}");
    }
}

#[tokio::test]
async fn mqtt_js_of_mqtt_5() {
    let folder = installed().await;
    let broker = broker().await;
    let printed = run(Command::new("node")
        .arg(clients().join("mqttjs_client.mjs"))
        .arg(broker.address.port().to_string())
        .arg(&folder))
    .await;
    assert_eq!(printed.matches("ok ").count(), 7, "{printed}");
}
