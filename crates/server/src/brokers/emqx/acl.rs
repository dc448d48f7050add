//! EMQX's `acl.conf`: who may publish and subscribe what.

use crate::brokers::Rules;

/// Topics of EMQX's own by which it tells of sessions.
const SESSION_TOPICS: [&str; 2] = [
    "$SYS/brokers/+/clients/+/connected",
    "$SYS/brokers/+/clients/+/disconnected",
];

/// Renders the file. The first rule that matches decides; what no rule matches
/// is denied.
pub(super) fn acl_conf(rules: &Rules) -> String {
    let root = rules.topics.root();
    let (nodes, check) = (&rules.accounts.nodes, &rules.accounts.check);
    let of_all = |channels: &[&str]| {
        let topics: Vec<String> = channels
            .iter()
            .map(|it| format!("\"{root}/+/{it}\""))
            .collect();
        topics.join(", ")
    };
    let of_self = |channels: &[&str]| {
        let topics: Vec<String> = channels
            .iter()
            .map(|it| format!("\"{root}/${{username}}/{it}\""))
            .collect();
        topics.join(", ")
    };
    let reports = ["status", "telemetry", "ack", "event"];
    let orders = ["cmd", "enrol"];
    let sessions = SESSION_TOPICS.map(|it| format!("\"{it}\"")).join(", ");
    format!(
        r##"%% Written by `dormouse broker emqx render`; edits are lost.

%% A name is put into the topics below as it is: one with a wildcard or a
%% slash in it would reach the topics of others.
{{deny, {{username, {{re, "[+#/]"}}}}, all, ["#"]}}.
{{deny, {{clientid, {{re, "[+#/]"}}}}, all, ["#"]}}.

%% Dormouse's nodes. A retained command would be carried out again at every
%% reconnect.
{{allow, {{username, "{nodes}"}}, {{publish, [{{retain, false}}]}}, [{orders_all}]}}.
{{allow, {{username, "{nodes}"}}, subscribe, [{reports_all}, {sessions}]}}.
{{deny, {{username, "{nodes}"}}, all, ["#"]}}.

%% `dormouse check` only listens, and never for credentials.
{{allow, {{username, "{check}"}}, subscribe, [{reports_all}, "{root}/+/cmd"]}}.
{{deny, {{username, "{check}"}}, all, ["#"]}}.

%% A device: its own topics, each by name.
{{allow, all, publish, [{reports_self}]}}.
{{allow, all, subscribe, [{orders_self}]}}.

{{deny, all}}.
"##,
        orders_all = of_all(&orders),
        reports_all = of_all(&reports),
        reports_self = of_self(&reports),
        orders_self = of_self(&orders),
    )
}
