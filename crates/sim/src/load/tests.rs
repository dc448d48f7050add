use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use clap::Parser;
use dormouse_core::wire::SampleBody;

use super::publisher::{Pace, Publisher, Stamps, Tally};
use super::template::{Shape, Template};
use super::*;
use crate::testbed::{Heard, Testbed};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: LoadArgs,
}

fn job(bed: &Testbed, devices: usize, line: &str) -> Job {
    let args = Cli::try_parse_from(["sim"].into_iter().chain(line.split_whitespace()))
        .unwrap()
        .args;
    let members = (1..=devices)
        .map(|n| Credentials::own(&format!("d{n}"), "p"))
        .collect();
    let duration = Some(Duration::from_secs(20));
    Job::new(
        bed.address.clone(),
        "dorm",
        members,
        args,
        duration,
        CancellationToken::new(),
    )
    .unwrap()
}

fn samples(bed: &Testbed) -> Vec<(String, SampleBody)> {
    let mut found = Vec::new();
    for heard in bed.heard() {
        if let Heard::Publish { topic, payload, .. } = heard
            && topic.ends_with("/telemetry")
        {
            found.push((topic, serde_json::from_slice(&payload).unwrap()));
        }
    }
    found
}

async fn every_sample_is_accounted_for(mqtt5: &str) {
    let bed = Testbed::start().await;
    let record = tempfile::NamedTempFile::new().unwrap();
    let line = format!(
        "--load --count 1003 --window 7 --threads 2 {mqtt5} --record {}",
        record.path().display()
    );
    let report = load(job(&bed, 5, &line)).await.unwrap();
    assert_eq!(
        (report.published, report.acknowledged, report.unacknowledged),
        (1003, 1003, 0)
    );
    let heard = samples(&bed);
    assert_eq!(heard.len(), 1003);
    let mut by_device = BTreeMap::<_, Vec<_>>::new();
    for (topic, sample) in &heard {
        by_device
            .entry(topic)
            .or_default()
            .push((sample.seq.unwrap(), sample.ts.unwrap()));
    }
    assert_eq!(by_device.len(), 5);
    for marks in by_device.values() {
        assert!(
            marks.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1),
            "seq and ts rise strictly"
        );
    }
    let mut recorded: Vec<_> = std::fs::read_to_string(record.path())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let mut expected: Vec<_> = heard
        .iter()
        .map(|(topic, sample)| {
            let device = topic.split('/').nth(1).unwrap();
            format!("{device},{},{}", sample.seq.unwrap(), sample.ts.unwrap())
        })
        .collect();
    recorded.sort();
    expected.sort();
    assert_eq!(recorded, expected);
}

#[tokio::test]
async fn every_sample_is_accounted_for_over_mqtt_3() {
    every_sample_is_accounted_for("").await;
}

#[tokio::test]
async fn every_sample_is_accounted_for_over_mqtt_5() {
    every_sample_is_accounted_for("--mqtt5").await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    let bed = Testbed::start().await;
    let report = load(job(&bed, 10, "--load --rate 500 --count 250"))
        .await
        .unwrap();
    assert_eq!(report.acknowledged, 250);
    // The last sample is due 498 ms after the first.
    assert!(
        (0.45..2.0).contains(&report.elapsed_s),
        "{} s",
        report.elapsed_s
    );
}

#[tokio::test]
async fn what_a_lost_connection_left_unacknowledged_is_published_again_once() {
    let bed = Testbed::start().await;
    bed.cut_after(30);
    let report = load(job(&bed, 1, "--load --count 100 --window 10 --reconnect"))
        .await
        .unwrap();
    assert_eq!(
        (report.published, report.acknowledged, report.errors.lost),
        (100, 100, 1)
    );
    assert!(
        (1..=10).contains(&report.resent),
        "{} sent again",
        report.resent
    );
    let mut seqs: Vec<_> = samples(&bed)
        .iter()
        .map(|(_, sample)| sample.seq.unwrap())
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 100, "every number reached the broker");
}

#[tokio::test]
async fn a_storm_ends_when_everybody_is_heard_and_holds_until_told() {
    let bed = Testbed::start().await;
    let job = job(&bed, 50, "--storm --threads 2");
    let cancel = job.cancel.clone();
    storm(job, |report| {
        assert_eq!(
            (report.connected, report.heard, report.errors.connect),
            (50, 50, 0)
        );
        assert!(!bed.heard().iter().any(|heard| matches!(heard, Heard::Lost)));
        cancel.cancel();
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_echo_acknowledges_every_command() {
    let bed = Testbed::start().await;
    let job = job(&bed, 3, "--echo");
    let cancel = job.cancel.clone();
    let commanding = async {
        bed.until(|heard| {
            (heard
                .iter()
                .filter(|h| matches!(h, Heard::Publish { .. }))
                .count()
                == 3)
                .then_some(())
        })
        .await;
        let body = serde_json::json!({
            "cmdId": "01890a5d-ac96-774b-bcce-b302099a8057", "deviceId": "d1", "socketId": 2,
            "action": "off", "ttlMs": 6000, "expiresAt": 0,
        });
        bed.send("dorm/d1/cmd", body.to_string().into());
        let acks = bed
            .until(|heard| {
                let acks: Vec<_> = (1..=3)
                    .flat_map(|n| Testbed::bodies(heard, &format!("dorm/d{n}/ack")))
                    .collect();
                (acks.len() == 3).then_some(acks)
            })
            .await;
        assert!(
            acks.iter()
                .all(|ack| ack["status"] == "success" && ack["on"] == false)
        );
        cancel.cancel();
    };
    let (report, ()) = futures_util::future::join(echo(job), commanding).await;
    assert_eq!(report.unwrap().commands, 3);
}

proptest::proptest! {
    #[test]
    fn acknowledgements_are_counted_once_however_the_bytes_are_cut(
        cuts in proptest::collection::vec(1_usize..9, 1..60),
        mqtt5 in proptest::prelude::any::<bool>(),
    ) {
        let window = 20_u16;
        let tally = Rc::new(RefCell::new(Tally::new().unwrap()));
        let mut publisher = full_publisher(window, &tally);
        let mut wire = Vec::new();
        for id in 1..=window {
            let [high, low] = id.to_be_bytes();
            match mqtt5 {
                // In MQTT 5 the reason may follow; every fifth is refused.
                true if id % 5 == 0 => wire.extend_from_slice(&[0x40, 4, high, low, 0x99, 0]),
                true | false => wire.extend_from_slice(&[0x40, 2, high, low]),
            }
        }
        let mut rest = wire.as_slice();
        for cut in cuts.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(cut.min(rest.len()));
            publisher.take(now).unwrap();
            rest = later;
        }
        let tally = tally.borrow();
        proptest::prop_assert_eq!(tally.acknowledged + tally.refused, u64::from(window));
        proptest::prop_assert_eq!(tally.refused, if mqtt5 { 4 } else { 0 });
    }

    #[test]
    fn whatever_a_broker_sends_is_counted_or_refused_and_never_panics(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let tally = Rc::new(RefCell::new(Tally::new().unwrap()));
        let _ = full_publisher(5, &tally).take(&bytes);
        proptest::prop_assert!(tally.borrow().acknowledged <= 5);
    }
}

/// A publisher with its whole window in flight.
fn full_publisher(window: u16, tally: &Rc<RefCell<Tally>>) -> Publisher {
    let start = tokio::time::Instant::now();
    let pace = Pace {
        start,
        stop: start + Duration::from_secs(60),
        give_up: start + Duration::from_secs(60),
        count: u32::from(window),
        interval: Duration::ZERO,
        phase: Duration::ZERO,
        stamps: Stamps::Clock { backdate_ms: 0 },
    };
    let template = Template::new(Shape {
        topic: "dorm/d1/telemetry",
        version: Version::V3,
        payload_bytes: 200,
        sockets: 0,
        boot: 1,
        begin_ms: 0,
    });
    let mut publisher = Publisher::new(
        "d1".to_owned(),
        template,
        window,
        pace,
        Rc::clone(tally),
        None,
    );
    publisher.fill(start);
    publisher
}
