use proptest::prelude::*;

use super::*;
use crate::ids::SocketId;
use crate::sample::Values;
use crate::wire::{Measurements, SampleBody, SocketSampleBody};

const NOW: Timestamp = Timestamp::from_millis(1_767_323_045_000);

fn refused(body: &str) -> (Reason, String) {
    let refusal = decode_telemetry(body.as_bytes(), NOW).unwrap_err();
    (refusal.reason, refusal.field.into_owned())
}

#[test]
fn the_contract_s_own_example_is_read() {
    let body = br#"{"ts":1767323045123,"seq":991,"boot":17,"powerW":205.3,"voltageV":229.8,
        "currentA":0.955,"energyWh":12345.6,"powerFactor":0.94,
        "sockets":[{"socketId":1,"powerW":180.1,"energyWh":8000.2}],"unknown":{"x":[1]}}"#;
    let readings = decode_telemetry(body, NOW).unwrap();
    let totals = Values {
        power_dw: Some(2053),
        voltage_dv: Some(2298),
        current_ma: Some(955),
        energy_dwh: Some(123_456),
        power_factor_centi: Some(94),
    };
    let socket = Values {
        power_dw: Some(1801),
        energy_dwh: Some(80_002),
        ..Values::default()
    };
    let one = SocketId::parse(1).unwrap();
    assert_eq!(readings.len(), 1);
    assert_eq!(
        readings[0].values[..],
        [(SocketId::STRIP, totals), (one, socket)]
    );
    assert_eq!(
        readings[0].time,
        DeviceTime::At(Timestamp::from_millis(1_767_323_045_123))
    );
    assert_eq!(readings[0].sequence, Some(Sequence { boot: 17, seq: 991 }));
}

#[test]
fn snake_case_reads_like_camel_case() {
    let snake = br#"{"age_ms":5,"power_w":1,"voltage_v":2,"current_a":3,"energy_wh":4,
        "power_factor":0.5,"sockets":[{"socket_id":2,"power_w":1}]}"#;
    let camel = br#"{"ageMs":5,"powerW":1,"voltageV":2,"currentA":3,"energyWh":4,
        "powerFactor":0.5,"sockets":[{"socketId":2,"powerW":1}]}"#;
    assert_eq!(decode_telemetry(snake, NOW), decode_telemetry(camel, NOW));
    assert!(decode_telemetry(snake, NOW).is_ok());
}

#[test]
fn each_broken_rule_is_named_with_its_field() {
    for (body, reason, field) in [
        ("", Reason::MalformedJson, "body"),
        ("{\"powerW\":1", Reason::MalformedJson, "body"),
        ("{\"powerW\":NaN}", Reason::MalformedJson, "body"),
        ("{\"powerW\":1e999}", Reason::MalformedJson, "body"),
        ("3", Reason::WrongType, "body"),
        (r#"{"powerW":"1"}"#, Reason::WrongType, "powerW"),
        (r#"{"powerW":1,"seq":-1}"#, Reason::WrongType, "seq"),
        (r#"{"powerW":1,"ts":1.5}"#, Reason::WrongType, "ts"),
        (r#"{"powerW":100001}"#, Reason::OutOfRange, "powerW"),
        (r#"{"powerFactor":94}"#, Reason::OutOfRange, "powerFactor"),
        (r#"{"energyWh":-1}"#, Reason::OutOfRange, "energyWh"),
        (r#"{"currentA":1e9}"#, Reason::OutOfRange, "currentA"),
        (
            r#"{"ts":1767323045,"powerW":1}"#,
            Reason::TimeImplausible,
            "ts",
        ),
        (
            r#"{"ageMs":99999999999,"powerW":1}"#,
            Reason::TimeImplausible,
            "ageMs",
        ),
        (r#"{"ts":1767323045123}"#, Reason::NoMeasurement, "body"),
        (r#"{"powerW":null}"#, Reason::NoMeasurement, "body"),
        ("[]", Reason::ArrayLength, "body"),
        (r#" [{"powerW":1}]"#, Reason::TimeMissing, "[0].ts"),
        (
            r#"[{"ageMs":1,"powerW":1e6}]"#,
            Reason::OutOfRange,
            "[0].powerW",
        ),
    ] {
        assert_eq!(refused(body), (reason, field.to_owned()), "{body}");
    }
}

#[test]
fn a_socket_that_breaks_a_rule_is_named_by_its_place() {
    for (sockets, reason, field) in [
        (r#"{"powerW":1}"#, Reason::WrongType, "sockets[0]"),
        (
            r#"{"socketId":33,"powerW":1}"#,
            Reason::WrongType,
            "sockets[0].socketId",
        ),
        (
            r#"{"socketId":0,"powerW":1}"#,
            Reason::OutOfRange,
            "sockets[0].socketId",
        ),
        (
            r#"{"socketId":1,"voltageV":-1}"#,
            Reason::OutOfRange,
            "sockets[0].voltageV",
        ),
        (
            r#"{"socketId":1,"powerW":1},{"socketId":1,"powerW":2}"#,
            Reason::DuplicateSocket,
            "sockets[1].socketId",
        ),
    ] {
        let body = format!(r#"{{"sockets":[{sockets}]}}"#);
        assert_eq!(refused(&body), (reason, field.to_owned()), "{body}");
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let ahead = |ms: i64| format!(r#"{{"ts":{},"powerW":1}}"#, NOW.as_millis() + ms);
    assert!(decode_telemetry(ahead(AHEAD_MAX_MS).as_bytes(), NOW).is_ok());
    let too_far = refused(&ahead(AHEAD_MAX_MS + 1));
    assert_eq!(too_far, (Reason::TimeAhead, "ts".to_owned()));

    let array = |n: usize| format!("[{}]", vec![r#"{"ageMs":1,"powerW":1}"#; n].join(","));
    let hundred = decode_telemetry(array(ARRAY_MAX).as_bytes(), NOW).unwrap();
    assert_eq!(hundred.len(), ARRAY_MAX);
    assert_eq!(refused(&array(ARRAY_MAX + 1)).0, Reason::ArrayLength);

    let padded = |len: usize| format!(r#"{{"powerW":1}}{}"#, " ".repeat(len - 12));
    assert!(decode_telemetry(padded(BODY_MAX).as_bytes(), NOW).is_ok());
    assert_eq!(refused(&padded(BODY_MAX + 1)).0, Reason::TooLarge);
}

#[test]
fn every_reason_is_counted_at_its_own_place() {
    for (index, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index, "{}", reason.name());
    }
}

#[test]
fn a_status_is_checked_and_sorted() {
    let status = decode_status(
        br#"{"v":1,"online":true,"boot":17,"conn":3,"seq":1,"firmware":"1.4.0","ip":"10.3.2.9",
        "rssiDbm":-61,"uptimeS":512,"periodS":5,
        "sockets":[{"socketId":2,"on":false},{"socketId":1,"on":true}]}"#,
    )
    .unwrap();
    let sockets: Vec<_> = status
        .sockets
        .iter()
        .map(|(s, on)| (s.get(), *on))
        .collect();
    assert_eq!(sockets, [(1, true), (2, false)]);
    assert_eq!(status.period_ms, Some(5000));
    for (body, field) in [
        (r#"{}"#, "body"),
        (r#"{"online":1}"#, "online"),
        (r#"{"online":true,"periodS":0}"#, "periodS"),
        (r#"{"online":true,"rssiDbm":999}"#, "rssiDbm"),
        (r#"{"online":true,"firmware":"a\nb"}"#, "firmware"),
        (
            r#"{"online":true,"sockets":[{"socketId":0,"on":true}]}"#,
            "sockets[0].socketId",
        ),
        (
            r#"{"online":true,"sockets":[{"socketId":1,"on":true},{"socketId":1,"on":true}]}"#,
            "sockets",
        ),
    ] {
        assert_eq!(
            decode_status(body.as_bytes()).unwrap_err().field,
            field,
            "{body}"
        );
    }
}

#[test]
fn a_verdict_survives_a_long_explanation() {
    let body = format!(
        r#"{{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"failed","reason":"{}"}}"#,
        "é".repeat(300)
    );
    let ack = decode_ack(body.as_bytes()).unwrap();
    assert_eq!(ack.reason.unwrap().len(), 256);
    assert!(decode_ack(br#"{"cmdId":"7","status":"success"}"#).is_err());
    assert!(
        decode_ack(br#"{"cmdId":"019b7a9c-0000-7000-8000-000000000001","status":"maybe"}"#)
            .is_err()
    );
}

#[test]
fn an_event_s_type_is_a_plain_name() {
    assert!(decode_event(br#"{"type":"overload"}"#, NOW).is_ok());
    assert_eq!(
        decode_event(br#"{"type":"a b"}"#, NOW).unwrap_err().field,
        "type"
    );
    assert_eq!(
        decode_event(br#"{"type":""}"#, NOW).unwrap_err().field,
        "type"
    );
}

fn measurements() -> impl Strategy<Value = Measurements> {
    let some = |range: std::ops::Range<f64>| prop::option::of(range);
    (
        some(-1e5..1e5),
        some(0.0..1e3),
        some(-1e3..1e3),
        some(0.0..1e9),
        some(-1.0..1.0),
    )
        .prop_map(
            |(power_w, voltage_v, current_a, energy_wh, power_factor)| Measurements {
                power_w,
                voltage_v,
                current_a,
                energy_wh,
                power_factor,
            },
        )
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(body: Vec<u8>) {
        decode_all(&body, NOW);
    }

    #[test]
    fn any_json_is_decoded_or_refused(
        body in r#"\[?\{("(ts|ageMs|powerW|sockets|socketId|online|cmdId|type|data|boot|seq)":([0-9eE+.-]{1,12}|null|true|"[^"\\]{0,5}"|\[\]|\{\}),?){0,6}\}?\]?"#
    ) {
        decode_all(body.as_bytes(), NOW);
    }

    #[test]
    fn what_a_strip_writes_is_read_as_it_meant_it(
        totals in measurements(),
        socket in measurements(),
        seq: Option<u32>,
    ) {
        let body = SampleBody {
            ts: Some(NOW.as_millis()),
            age_ms: None,
            seq,
            boot: Some(1),
            totals,
            sockets: vec![SocketSampleBody {
                socket_id: SocketId::parse(1).unwrap(),
                measurements: socket,
            }],
        };
        let json = serde_json::to_vec(&body).unwrap();
        let decoded = decode_telemetry(&json, NOW);
        if totals == Measurements::default() && socket == Measurements::default() {
            prop_assert_eq!(decoded.unwrap_err().reason, Reason::NoMeasurement);
            return Ok(());
        }
        let decoded = decoded.unwrap();
        let of = |wanted: SocketId| decoded[0].values.iter().find(|(s, _)| *s == wanted);
        for (measured, found) in [
            (totals, of(SocketId::STRIP)),
            (socket, of(SocketId::parse(1).unwrap())),
        ] {
            let found = found.map(|(_, values)| *values).unwrap_or_default();
            let back = found.power_dw.map(|p| f64::from(p) / 10.0);
            prop_assert_eq!(back.is_some(), measured.power_w.is_some());
            if let (Some(back), Some(meant)) = (back, measured.power_w) {
                prop_assert!((back - meant).abs() <= 0.05 + 1e-9);
            }
        }
    }
}
