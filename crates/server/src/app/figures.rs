//! The platform's figures, read from where they are counted just before they
//! are told.

use std::sync::Arc;

use dormouse_core::health::{HealthRegistry, PartState};
use metrics::{counter, gauge};

use super::doors::Link;
use super::engines::Engines;
use super::intake::IntakeWork;
use super::services::Services;
use crate::api::metrics::Collector;
use crate::mqtt::BrokerLink;
use crate::mqtt::external::ExternalLink;
use crate::upkeep;

/// Brings each part's figures up to date.
pub(super) fn collectors(
    services: &Services,
    engines: &Arc<Engines>,
    health: &Arc<HealthRegistry>,
) -> Vec<Collector> {
    vec![
        parts(health),
        broker(services),
        intake(services),
        commits(services),
        journal(engines),
        watching(services),
    ]
}

fn parts(health: &Arc<HealthRegistry>) -> Collector {
    let health = Arc::clone(health);
    Box::new(move || {
        let version = env!("CARGO_PKG_VERSION");
        gauge!("dormouse_info", "version" => version).set(1.0);
        gauge!("dormouse_ready").set(f64::from(u8::from(health.is_ready())));
        for (name, part) in health.all() {
            let up = f64::from(u8::from(part.state == PartState::Up));
            gauge!("dormouse_part_up", "part" => name, "engine" => part.engine).set(up);
        }
    })
}

fn broker(services: &Services) -> Collector {
    match &services.link {
        Link::Embedded(link) => embedded(Arc::clone(link)),
        Link::External(link) => external(Arc::clone(link)),
    }
}

fn external(link: Arc<ExternalLink>) -> Collector {
    Box::new(move || {
        let stats = link.stats();
        gauge!("dormouse_broker_connected").set(f64::from(u8::from(stats.connected)));
        gauge!("dormouse_broker_unacknowledged").set(approximate(stats.unacknowledged));
        gauge!("dormouse_broker_in_flight").set(approximate(stats.in_flight));
        for (name, value) in [
            ("dormouse_broker_received_total", stats.received),
            ("dormouse_broker_unknown_total", stats.unknown),
            ("dormouse_broker_sent_total", stats.sent),
            ("dormouse_broker_refused_total", stats.refused),
            ("dormouse_broker_losses_total", stats.losses),
            ("dormouse_broker_adopted_total", stats.adopted),
        ] {
            counter!(name).absolute(value);
        }
    })
}

fn embedded(link: Arc<BrokerLink>) -> Collector {
    Box::new(move || {
        let Some(stats) = link.stats() else { return };
        gauge!("dormouse_mqtt_connections").set(approximate(stats.connections));
        gauge!("dormouse_mqtt_sessions").set(approximate(stats.sessions));
        gauge!("dormouse_mqtt_queued_bytes").set(approximate(stats.queued_bytes));
        for (name, value) in [
            ("dormouse_mqtt_connects_total", stats.connects),
            ("dormouse_mqtt_refused_total", stats.refused),
            ("dormouse_mqtt_protocol_errors_total", stats.protocol_errors),
            ("dormouse_mqtt_messages_received_total", stats.messages_in),
            ("dormouse_mqtt_messages_sent_total", stats.messages_out),
            ("dormouse_mqtt_received_bytes_total", stats.bytes_in),
            ("dormouse_mqtt_sent_bytes_total", stats.bytes_out),
            ("dormouse_mqtt_publish_denied_total", stats.denied_publish),
            (
                "dormouse_mqtt_subscribe_denied_total",
                stats.denied_subscribe,
            ),
            ("dormouse_mqtt_takeovers_total", stats.takeovers),
            ("dormouse_mqtt_wills_total", stats.wills),
            ("dormouse_mqtt_slow_consumers_total", stats.slow_consumers),
            ("dormouse_mqtt_ack_overdue_total", stats.ack_overdue),
        ] {
            counter!(name).absolute(value);
        }
        for (reason, value) in [
            ("queue-full", stats.dropped_full),
            ("expired", stats.dropped_expired),
            ("too-large", stats.dropped_too_large),
            ("offline", stats.dropped_offline),
        ] {
            counter!("dormouse_mqtt_dropped_total", "reason" => reason).absolute(value);
        }
    })
}

fn intake(services: &Services) -> Collector {
    let ingest = Arc::clone(&services.gate);
    Box::new(move || {
        let totals = ingest.totals();
        for (name, value) in [
            ("dormouse_ingest_messages_total", totals.messages),
            ("dormouse_ingest_samples_total", totals.samples),
            ("dormouse_ingest_repeats_total", totals.repeats),
            ("dormouse_ingest_dropped_total", totals.dropped),
            (
                "dormouse_ingest_unacknowledged_total",
                totals.unacknowledged,
            ),
        ] {
            counter!(name).absolute(value);
        }
        for (reason, value) in ingest.refused() {
            counter!("dormouse_ingest_refused_total", "reason" => reason.name()).absolute(value);
        }
    })
}

fn commits(services: &Services) -> Collector {
    let work = services.intake.clone();
    Box::new(move || match &work {
        IntakeWork::Commit(committer) => upkeep::tell_intake(&committer.figures()),
        IntakeWork::Drain(_) => {}
    })
}

fn journal(engines: &Arc<Engines>) -> Collector {
    let journal = Arc::clone(&engines.journal);
    Box::new(move || {
        let stats = journal.stats();
        gauge!("dormouse_journal_capacity_bytes").set(approximate(stats.capacity));
        gauge!("dormouse_journal_used_bytes").set(approximate(stats.used));
        gauge!("dormouse_journal_full").set(f64::from(u8::from(stats.full)));
        counter!("dormouse_journal_commits_total").absolute(stats.commits);
        counter!("dormouse_journal_written_bytes_total").absolute(stats.written);
    })
}

fn watching(services: &Services) -> Collector {
    let services = services.clone();
    Box::new(move || {
        let counts = services.presence.counts();
        gauge!("dormouse_devices_online").set(count(counts.online));
        gauge!("dormouse_devices_offline").set(count(counts.offline));
        gauge!("dormouse_live_watchers").set(count(services.live.own_watchers()));
        counter!("dormouse_events_dropped_total").absolute(services.events.dropped());
        counter!("dormouse_command_evidence_dropped_total").absolute(services.dispatcher.dropped());
    })
}

fn count(n: usize) -> f64 {
    approximate(u64::try_from(n).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge needs no more than 53 bits"
)]
const fn approximate(value: u64) -> f64 {
    value as f64
}
