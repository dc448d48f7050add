"""Exercises a broker with Eclipse Paho: paho_client.py PORT LEVEL (4 or 5)."""

import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT, LEVEL = int(sys.argv[1]), int(sys.argv[2])
V5 = LEVEL == 5
SOON = 10


class Peer:
    """A client whose events arrive in queues."""

    def __init__(self, name, persistent=False, will=None, keepalive=30):
        extra = {} if V5 else {"clean_session": not persistent}
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTv5 if V5 else mqtt.MQTTv311,
            **extra,
        )
        self.messages, self.connects = queue.Queue(), queue.Queue()
        self.subscribed, self.published = queue.Queue(), queue.Queue()
        self.disconnects = queue.Queue()
        client = self.client
        client.on_message = lambda c, u, m: self.messages.put(m)
        client.on_connect = lambda c, u, f, code, p: self.connects.put((f, code, p))
        client.on_subscribe = lambda c, u, mid, codes, p: self.subscribed.put(codes)
        client.on_publish = lambda c, u, mid, code, p: self.published.put(code)
        client.on_disconnect = lambda c, u, f, code, p: self.disconnects.put(code)
        if will:
            client.will_set(*will)
        options = {}
        if V5:
            properties = Properties(PacketTypes.CONNECT)
            if persistent:
                properties.SessionExpiryInterval = 600
            options = {"clean_start": not persistent, "properties": properties}
        client.connect("127.0.0.1", PORT, keepalive, **options)
        client.loop_start()
        self.flags, code, self.properties = self.connects.get(timeout=SOON)
        assert not code.is_failure, code

    def subscribe(self, filter, qos):
        self.client.subscribe(filter, qos)
        return self.subscribed.get(timeout=SOON)[0]

    def publish(self, *args, **kwargs):
        self.client.publish(*args, **kwargs).wait_for_publish(SOON)
        return self.published.get(timeout=SOON)

    def message(self):
        return self.messages.get(timeout=SOON)

    def leave(self):
        self.client.disconnect()
        self.disconnects.get(timeout=SOON)
        self.client.loop_stop()

    def die(self):
        """Goes without a word, as after a power cut."""
        self.client.loop_stop()
        self.client._sock_close()


def every_qos():
    alice, bob = Peer("alice"), Peer("bob")
    for wanted in range(3):
        assert alice.subscribe(f"paho/{wanted}", wanted).value == wanted
        for qos in range(3):
            bob.publish(f"paho/{wanted}", f"{qos}", qos)
            message = alice.message()
            assert (message.payload, message.qos) == (f"{qos}".encode(), min(qos, wanted))
    alice.leave()
    bob.leave()


def retained():
    alice = Peer("alice")
    alice.publish("paho/kept", b"value", 1, retain=True)
    bob = Peer("bob")
    bob.subscribe("paho/+", 1)
    message = bob.message()
    assert message.retain and message.payload == b"value"
    alice.publish("paho/kept", b"", 1, retain=True)
    assert bob.message().payload == b""
    alice.leave()
    bob.leave()


def offline():
    alice = Peer("sleeper", persistent=True)
    alice.subscribe("paho/offline", 2)
    alice.leave()
    bob = Peer("bob")
    for number in range(20):
        bob.publish("paho/offline", str(number), 2)
    alice = Peer("sleeper", persistent=True)
    assert alice.flags.session_present
    assert [alice.message().payload for _ in range(20)] == [str(n).encode() for n in range(20)]
    alice.leave()
    bob.leave()


def will():
    watcher = Peer("watcher")
    watcher.subscribe("paho/will", 1)
    Peer("dying", will=("paho/will", b"gone", 1)).die()
    assert watcher.message().payload == b"gone"
    watcher.leave()


def many():
    alice, bob = Peer("alice"), Peer("bob")
    alice.subscribe("paho/many", 2)
    for number in range(500):
        bob.client.publish("paho/many", str(number), 2)
    seen = [alice.message().payload for _ in range(500)]
    assert seen == [str(n).encode() for n in range(500)]
    alice.leave()
    bob.leave()


def denied():
    alice = Peer("alice")
    alice.client.subscribe("paho/nosubscribe", 1)
    assert alice.subscribed.get(timeout=SOON)[0].is_failure
    alice.leave()


def properties():
    alice, bob = Peer("alice"), Peer("bob")
    alice.client.subscribe("paho/props", options=SubscribeOptions(qos=2, noLocal=True))
    alice.subscribed.get(timeout=SOON)
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "paho/answer"
    sent.CorrelationData = b"1234"
    sent.MessageExpiryInterval = 100
    sent.UserProperty = ("a", "1")
    sent.UserProperty = ("b", "2")
    alice.publish("paho/props", b"own", 1, properties=sent)
    bob.publish("paho/props", b"x", 1, properties=sent)
    message = alice.message()
    assert message.payload == b"x"
    got = message.properties
    assert got.UserProperty == [("a", "1"), ("b", "2")]
    assert (got.ContentType, got.ResponseTopic) == ("text/plain", "paho/answer")
    assert got.CorrelationData == b"1234" and got.PayloadFormatIndicator == 1
    assert 90 <= got.MessageExpiryInterval <= 100
    assert bob.properties.ReceiveMaximum > 0
    alice.leave()
    bob.leave()


def keepalive():
    idle = Peer("idle", keepalive=1)
    time.sleep(3)
    idle.publish("paho/idle", b"still here", 1)
    assert idle.disconnects.empty()
    idle.leave()


checks = [every_qos, retained, offline, will, many, denied, keepalive]
if V5:
    checks.append(properties)
for check in checks:
    check()
    print("ok", check.__name__)
