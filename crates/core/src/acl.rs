//! Which topics a device may use: its own, by name, and nothing wider.
//!
//! A device publishes `status`, `telemetry`, `ack` and `event` of itself and
//! subscribes to its own `cmd`, and to `enrol` while it joins. Wildcards are
//! refused altogether: even `{root}/{self}/#` would let it read or write its
//! own commands.

use crate::ids::DeviceId;
use crate::topic::{Channel, Topics};

/// How a device's session got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// With credentials of its own.
    Active,
    /// With the join key; may wait for its credentials on `enrol`.
    Joining,
}

/// Whether `device` may publish on `topic`.
#[must_use]
pub fn may_publish(topics: &Topics, device: &DeviceId, topic: &str) -> bool {
    match own_channel(topics, device, topic) {
        Some(Channel::Status | Channel::Telemetry | Channel::Ack | Channel::Event) => true,
        Some(Channel::Cmd | Channel::Enrol) | None => false,
    }
}

/// Whether `device` may subscribe to `filter`, shared subscriptions included.
#[must_use]
pub fn may_subscribe(topics: &Topics, device: &DeviceId, standing: Standing, filter: &str) -> bool {
    match own_channel(topics, device, filter) {
        Some(Channel::Cmd) => true,
        Some(Channel::Enrol) => standing == Standing::Joining,
        Some(Channel::Status | Channel::Telemetry | Channel::Ack | Channel::Event) | None => false,
    }
}

/// The channel that `topic` is of `device`; `None` for anything else, filters
/// with wildcards and shared subscriptions among it, since no id holds `+`,
/// `#` or `$`.
fn own_channel(topics: &Topics, device: &DeviceId, topic: &str) -> Option<Channel> {
    let (owner, channel) = topics.split(topic)?;
    (owner == device.as_str()).then_some(channel)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    #[test]
    fn a_device_publishes_its_own_reports_and_nothing_else() {
        let topics = Topics::default();
        let me = device("A-1");
        for (topic, allowed) in [
            ("dorm/A-1/status", true),
            ("dorm/A-1/telemetry", true),
            ("dorm/A-1/ack", true),
            ("dorm/A-1/event", true),
            ("dorm/A-1/cmd", false),
            ("dorm/A-1/enrol", false),
            ("dorm/A-1/other", false),
            ("dorm/A-1", false),
            ("dorm/A-1/status/x", false),
            ("dorm/A-2/status", false),
            ("dorm/a-1/status", false),
            ("dorm/A-1 /status", false),
            ("other/A-1/status", false),
            ("/dorm/A-1/status", false),
            ("$SYS/broker", false),
            ("", false),
        ] {
            assert_eq!(may_publish(&topics, &me, topic), allowed, "{topic}");
        }
    }

    #[test]
    fn a_device_hears_its_own_commands_and_nothing_wider() {
        let topics = Topics::default();
        let me = device("A-1");
        for (filter, active, joining) in [
            ("dorm/A-1/cmd", true, true),
            ("dorm/A-1/enrol", false, true),
            ("dorm/A-1/status", false, false),
            ("dorm/A-1/#", false, false),
            ("dorm/A-1/+", false, false),
            ("dorm/+/cmd", false, false),
            ("dorm/#", false, false),
            ("+/A-1/cmd", false, false),
            ("#", false, false),
            ("+/+/+", false, false),
            ("$share/g/dorm/A-1/cmd", false, false),
            ("$SYS/#", false, false),
            ("dorm/A-2/cmd", false, false),
            ("dorm/A-2/enrol", false, false),
        ] {
            let ask = |standing| may_subscribe(&topics, &me, standing, filter);
            assert_eq!(ask(Standing::Active), active, "{filter}");
            assert_eq!(ask(Standing::Joining), joining, "{filter}");
        }
    }

    fn ids() -> impl Strategy<Value = DeviceId> {
        "[A-Za-z0-9][A-Za-z0-9._-]{0,31}".prop_map(|id| device(&id))
    }

    /// Whether `filter` matches `topic` by MQTT's rules, written naively.
    fn matches(filter: &str, topic: &str) -> bool {
        let filter = filter
            .strip_prefix("$share/")
            .and_then(|rest| rest.split_once('/'))
            .map_or(filter, |(_, inner)| inner);
        let (mut levels, mut parts) = (filter.split('/'), topic.split('/'));
        loop {
            match (levels.next(), parts.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(part)) if level == part => {}
                (_, _) => return false,
            }
        }
    }

    /// Levels that an attacker would try, the victim's id among them.
    fn filters(victim: &DeviceId, me: &DeviceId) -> impl Strategy<Value = String> + use<> {
        let level = prop_oneof![
            Just("dorm".to_owned()),
            Just(victim.as_str().to_owned()),
            Just(me.as_str().to_owned()),
            Just("+".to_owned()),
            Just("#".to_owned()),
            Just("cmd".to_owned()),
            Just("enrol".to_owned()),
            Just("status".to_owned()),
            Just("$share".to_owned()),
            Just(String::new()),
            "[ -~]{0,6}",
        ];
        proptest::collection::vec(level, 0..6).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #[test]
        fn no_device_is_ever_granted_a_topic_of_another(
            (me, victim, filter) in (ids(), ids())
                .prop_filter("two devices", |(me, victim)| me != victim)
                .prop_flat_map(|(me, victim)| {
                    let filter = filters(&victim, &me);
                    (Just(me), Just(victim), filter)
                })
        ) {
            let topics = Topics::default();
            let foreign = [
                Channel::Status, Channel::Telemetry, Channel::Ack,
                Channel::Event, Channel::Cmd, Channel::Enrol,
            ]
            .map(|channel| topics.of(&victim, channel));
            for standing in [Standing::Active, Standing::Joining] {
                if may_subscribe(&topics, &me, standing, &filter) {
                    for topic in &foreign {
                        prop_assert!(!matches(&filter, topic), "{filter} reaches {topic}");
                    }
                }
            }
            if may_publish(&topics, &me, &filter) {
                prop_assert!(!foreign.contains(&filter));
            }
            for topic in &foreign {
                prop_assert!(!may_publish(&topics, &me, topic));
                prop_assert!(!may_subscribe(&topics, &me, Standing::Joining, topic));
            }
        }
    }
}
