//! Malformed and forbidden packets: each ends its connection, and nothing else.

use dormouse_broker::Limits;
use tokio::io::AsyncWriteExt;

use crate::harness::{Client, TestBroker};
use crate::wire::{Connect, Packet, Props, Publish, V4, V5, packet};

/// CONNECTs that are refused: what, the bytes, and the CONNACK's code if any.
#[rustfmt::skip]
fn bad_connects() -> Vec<(&'static str, Vec<u8>, u8, Option<u8>)> {
    let head = |level: u8, flags: u8| vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 0];
    let with = |mut head: Vec<u8>, rest: &[u8]| {
        head.extend_from_slice(rest);
        packet(0x10, &head)
    };
    vec![
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), V4, None),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1], V4, None),
        ("a first packet that is no CONNECT", vec![0xC0, 0], V4, None),
        ("flags", packet(0x11, &head(4, 2)), V4, None),
        ("another protocol's name", packet(0x10, b"\0\x04HTTP\x04\x02\0\0\0\x01c"), V4, None),
        ("level 3", with(head(3, 2), &[0, 1, b'c']), V4, Some(1)),
        ("level 6", with(head(6, 2), &[0, 0, 1, b'c']), V5, Some(0x84)),
        ("reserved flag", with(head(5, 3), &[0, 0, 1, b'c']), V5, Some(0x81)),
        ("will flags without a will", with(head(5, 0x2A), &[0, 0, 1, b'c']), V5, Some(0x81)),
        ("a will with QoS 3", with(head(5, 0x1E), &[0, 0, 1, b'c', 0, 0, 1, b'w', 0, 0]), V5, Some(0x81)),
        ("a password without a name", with(head(4, 0x42), &[0, 1, b'c', 0, 1, b'p']), V4, None),
        ("bytes behind the end", with(head(5, 2), &[0, 0, 1, b'c', 9]), V5, Some(0x81)),
        ("an identifier that is too short", with(head(5, 2), &[0, 0, 9, b'c']), V5, Some(0x81)),
        ("an identifier that is not UTF-8", with(head(5, 2), &[0, 0, 1, 0xFF]), V5, Some(0x81)),
        ("a null character", with(head(5, 2), &[0, 0, 1, 0]), V5, Some(0x81)),
        ("receive maximum 0", with(head(5, 2), &[3, 0x21, 0, 0, 0, 1, b'c']), V5, Some(0x82)),
        ("maximum packet size 0", with(head(5, 2), &[5, 0x27, 0, 0, 0, 0, 0, 1, b'c']), V5, Some(0x82)),
        ("a property twice", with(head(5, 2), &[6, 0x21, 0, 1, 0x21, 0, 1, 0, 1, b'c']), V5, Some(0x82)),
        ("an unknown property", with(head(5, 2), &[2, 0x7E, 0, 0, 1, b'c']), V5, Some(0x81)),
        ("a property of another packet", with(head(5, 2), &[3, 0x23, 0, 1, 0, 1, b'c']), V5, Some(0x81)),
        ("a flag property of 2", with(head(5, 2), &[2, 0x17, 2, 0, 1, b'c']), V5, Some(0x82)),
        ("authentication data alone", with(head(5, 2), &[4, 0x16, 0, 1, 1, 0, 1, b'c']), V5, Some(0x82)),
        ("a will on a wildcard", with(head(5, 0x06), &[0, 0, 1, b'c', 0, 0, 1, b'#', 0, 0]), V5, Some(0x90)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_bad_connect_is_refused_and_closed() {
    let broker = TestBroker::start().await;
    for (what, bytes, level, code) in bad_connects() {
        let mut client = broker.dial(level).await;
        client.send(&bytes).await;
        if let Some(expected) = code {
            match client.next().await {
                Packet::ConnAck { code, .. } => assert_eq!(code, expected, "{what}"),
                other => panic!("{what}: {other:?}"),
            }
        }
        assert_eq!(client.next_or_end().await, None, "{what}");
    }
    let count = bad_connects().len();
    assert_eq!(broker.handle.stats().refused, count as u64);
    assert_eq!(broker.hooks.count("connected"), 0);
}

/// What a connected client must not send, and the reason that MQTT 5 gives.
#[rustfmt::skip]
fn bad_packets() -> Vec<(&'static str, Vec<u8>, u8, u8)> {
    let alias = Props::none().u16(0x23, 1);
    let id = Props::none().varint(0x0B, 1);
    vec![
        ("a second CONNECT", Connect::new(V5, "c").bytes(), V5, 0x82),
        ("a CONNACK", vec![0x20, 2, 0, 0], V5, 0x82),
        ("a PINGRESP", vec![0xD0, 0], V5, 0x82),
        ("type 0", vec![0x00, 0], V5, 0x81),
        ("type 15 in MQTT 3.1.1", vec![0xF0, 0], V4, 0),
        ("a PINGREQ with content", vec![0xC0, 1, 0], V5, 0x81),
        ("a PINGREQ with flags", vec![0xC1, 0], V5, 0x81),
        ("an endless length", vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1], V5, 0x81),
        ("QoS 3", packet(0x36, &[0, 1, b't', 0, 1, 0]), V5, 0x81),
        ("a repeated QoS 0", packet(0x38, &[0, 1, b't', 0]), V5, 0x81),
        ("packet identifier 0", packet(0x32, &[0, 1, b't', 0, 0, 0]), V5, 0x82),
        ("no topic", Publish::new("", "x").bytes(V5), V5, 0x90),
        ("a topic with a wildcard", Publish::new("a/+", "x").bytes(V5), V5, 0x90),
        ("a topic that is not UTF-8", packet(0x30, &[0, 1, 0xC0, 0]), V5, 0x81),
        ("a surrogate in a topic", packet(0x30, &[0, 3, 0xED, 0xA0, 0x80, 0]), V5, 0x81),
        ("an alias never set", Publish::new("", "x").props(alias).bytes(V5), V5, 0x82),
        ("an identifier in a PUBLISH", Publish::new("t", "x").props(id).bytes(V5), V5, 0x82),
        ("properties longer than the packet", packet(0x30, &[0, 1, b't', 9, 1]), V5, 0x81),
        ("a wildcard as response topic", packet(0x30, &[0, 1, b't', 4, 8, 0, 1, b'#']), V5, 0x90),
        ("SUBSCRIBE with flags 0", packet(0x80, &[0, 1, 0, 0, 1, b't', 0]), V5, 0x81),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1, 0]), V5, 0x82),
        ("SUBSCRIBE with QoS 3", packet(0x82, &[0, 1, 0, 0, 1, b't', 3]), V5, 0x81),
        ("SUBSCRIBE with retain handling 3", packet(0x82, &[0, 1, 0, 0, 1, b't', 0x30]), V5, 0x82),
        ("SUBSCRIBE with reserved bits", packet(0x82, &[0, 1, 0, 0, 1, b't', 0x40]), V5, 0x81),
        ("MQTT 5 options in MQTT 3.1.1", packet(0x82, &[0, 1, 0, 1, b't', 4]), V4, 0),
        ("SUBSCRIBE with identifier 0", packet(0x82, &[0, 0, 0, 0, 1, b't', 0]), V5, 0x82),
        ("UNSUBSCRIBE without filters", packet(0xA2, &[0, 1, 0]), V5, 0x82),
        ("UNSUBSCRIBE with flags 0", packet(0xA0, &[0, 1, 0, 0, 1, b't']), V5, 0x81),
        ("PUBREL with flags 0", packet(0x60, &[0, 1]), V5, 0x81),
        ("PUBACK with flags", packet(0x41, &[0, 1]), V5, 0x81),
        ("PUBACK that is too short", packet(0x40, &[0]), V5, 0x81),
        ("PUBACK that is too long", packet(0x40, &[0, 1, 0, 0, 9]), V5, 0x81),
        ("DISCONNECT with flags", vec![0xE1, 0], V5, 0x81),
        ("DISCONNECT with content in MQTT 3.1.1", vec![0xE0, 1, 0], V4, 0),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_bad_packet_ends_its_connection_and_nothing_else() {
    let broker = TestBroker::start().await;
    let mut bystander = broker.connect(Connect::new(V5, "bystander")).await;
    bystander.subscribe("will", 1).await;
    for (what, bytes, level, reason) in bad_packets() {
        let mut client = broker
            .connect(Connect::new(level, "c").will("will", what))
            .await;
        client.send(&bytes).await;
        if level == V5 {
            assert_eq!(
                client.next_or_end().await,
                Some(Packet::Disconnect { reason }),
                "{what}"
            );
        }
        assert_eq!(client.next_or_end().await, None, "{what}");
        assert_eq!(bystander.message().await.text(), what, "the will is due");
    }
    bystander.ping().await;
    let stats = broker.handle.stats();
    assert_eq!(stats.protocol_errors, bad_packets().len() as u64);
    assert_eq!(stats.panics, 0);
}

#[tokio::test(start_paused = true)]
async fn answers_to_nothing_are_harmless() {
    let broker = TestBroker::start().await;
    let mut client = broker.connect(Connect::new(V5, "c")).await;
    for kind in [4_u8, 7] {
        client.send(&packet(kind << 4, &[0, 77])).await;
    }
    client.send(&packet(0x50, &[0, 77])).await;
    assert_eq!(
        client.next().await,
        Packet::Answer {
            kind: 6,
            id: 77,
            reason: 0x92
        }
    );
    client.send(&packet(0x62, &[0, 77])).await;
    assert_eq!(
        client.next().await,
        Packet::Answer {
            kind: 7,
            id: 77,
            reason: 0x92
        }
    );
    client.ping().await;
}

/// A small generator, so that the garbage is the same in every run.
struct Garbage(u64);

impl Garbage {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_le_bytes()[3]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

#[tokio::test]
async fn garbage_before_and_after_connect_harms_nobody() {
    let limits = Limits {
        connect_timeout: std::time::Duration::from_millis(300),
        ..Limits::default()
    };
    let broker = TestBroker::on_tcp(limits).await;
    let mut bystander = broker.connect(Connect::new(V5, "bystander")).await;
    let mut garbage = Garbage(0x9E37_79B9_7F4A_7C15);
    for round in 0..200 {
        let level = if round % 2 == 0 { V4 } else { V5 };
        let mut client = if round % 4 < 2 {
            broker.dial(level).await
        } else {
            broker.connect(Connect::new(level, "garbage")).await
        };
        let count = usize::from(garbage.byte()) * 8;
        let bytes = garbage.bytes(count);
        // The broker may close while we are still writing.
        let _ = client.stream.write_all(&bytes).await;
        drop(client);
    }
    bystander.ping().await;
    broker
        .until("all closed", |b| b.handle.stats().connections == 1)
        .await;
    assert_eq!(broker.handle.stats().panics, 0);
}

#[tokio::test]
async fn a_packet_may_come_byte_by_byte() {
    let broker = TestBroker::on_tcp(Limits::default()).await;
    for level in [V4, V5] {
        let mut client: Client = broker.dial(level).await;
        let mut bytes = Connect::new(level, "slow").bytes();
        bytes.extend(Publish::new("t", "x".repeat(200)).qos(1, 1).bytes(level));
        for byte in bytes {
            client.send(&[byte]).await;
        }
        assert!(matches!(
            client.next().await,
            Packet::ConnAck { code: 0, .. }
        ));
        client.expect_answer(4, 1).await;
        client.leave().await;
    }
    assert_eq!(broker.hooks.count("publish slow t xxx"), 2);
}
