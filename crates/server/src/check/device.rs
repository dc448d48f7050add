//! What a device may do: speak and listen for itself, and for nobody else.

use dormouse_core::topic::Channel;
use futures_util::future::join_all;

use super::attempt::{AGAIN, attempts, judge, publish_as};
use super::client::{Answer, ConnectError, Got, Login, Probe};
use super::report::{Open, Report};
use super::{Account, Bench, PATIENCE, QUIET, Subject, marker};

const REPORTS: [Channel; 4] = [
    Channel::Status,
    Channel::Telemetry,
    Channel::Ack,
    Channel::Event,
];

/// What to do where a device reaches further than itself.
pub(super) const RULES: &str = "let devices publish ROOT/SELF/status, telemetry, ack and event, and subscribe ROOT/SELF/cmd and enrol, each by name (`dormouse broker … render` writes such rules)";

pub(super) async fn check(bench: &Bench<'_>, report: &mut Report) -> Result<(), ConnectError> {
    let mut b = Probe::connect(&bench.broker, &bench.b.login()).await?;
    b.subscribe(&bench.topics.of(&bench.b.id, Channel::Cmd))
        .await
        .ok();
    let mut watch = Watch::start(bench).await;
    own(bench, &mut watch, report).await?;
    speaking(bench, &mut watch, report).await;
    will(bench, &mut watch, report).await;
    commanding(bench, &mut b, report).await;
    listening(bench, &mut b, report).await;
    names(bench, &mut b, &mut watch, report).await;
    // What was left behind for the retained status is taken away again.
    let status = bench.topics.of(&bench.b.id, Channel::Status);
    b.publish(&status, "", true).await.ok();
    b.close().await;
    Ok(())
}

/// Sees what devices publish, where there is an account that may.
struct Watch {
    probe: Option<Probe>,
}

impl Watch {
    async fn start(bench: &Bench<'_>) -> Self {
        let account = bench.listener.as_ref().or(bench.nodes.as_ref());
        let account = account.filter(|_| !bench.embedded);
        Self {
            probe: match account {
                Some(account) => Self::open(bench, account).await,
                None => None,
            },
        }
    }

    async fn open(bench: &Bench<'_>, account: &Account) -> Option<Probe> {
        let login = account.login();
        let mut probe = Probe::connect(&bench.broker, &login).await.ok()?;
        for device in [&bench.a, &bench.b] {
            for channel in REPORTS {
                let topic = bench.topics.of(&device.id, channel);
                probe.subscribe(&topic).await.ok()?;
            }
        }
        Some(probe)
    }

    /// What arrived, once what `bench.a` says of itself now has; `None` where
    /// nobody can tell.
    async fn arrived(&mut self, bench: &Bench<'_>) -> Option<Vec<Got>> {
        let probe = self.probe.as_mut()?;
        let last = marker();
        let topic = bench.topics.of(&bench.a.id, Channel::Telemetry);
        publish_as(bench, &bench.a.login(), &topic, &last)
            .await
            .ok()?;
        if !probe.sees(&last, PATIENCE).await {
            return None;
        }
        Some(probe.everything(QUIET).await)
    }
}

async fn own(
    bench: &Bench<'_>,
    watch: &mut Watch,
    report: &mut Report,
) -> Result<(), ConnectError> {
    let check = report.open("device.own", "a device speaks and listens for itself");
    let mut a = Probe::connect(&bench.broker, &bench.a.login()).await?;
    let mut denied = Vec::new();
    let body = marker();
    for channel in REPORTS {
        let topic = bench.topics.of(&bench.a.id, channel);
        match a.publish(&topic, &body, false).await {
            Ok(Answer::Taken) => {}
            Ok(Answer::Refused(code)) => denied.push(format!("publish {topic} (0x{code:02x})")),
            Err(error) => denied.push(format!("publish {topic} ({error})")),
        }
    }
    let topic = bench.topics.of(&bench.a.id, Channel::Cmd);
    match a.subscribe(&topic).await {
        Ok(Answer::Taken) => {}
        Ok(Answer::Refused(code)) => denied.push(format!("subscribe {topic} (0x{code:02x})")),
        Err(error) => denied.push(format!("subscribe {topic} ({error})")),
    }
    a.close().await;
    let arrived = watch.arrived(bench).await.map(|all| {
        let own = all.iter().filter(|it| it.payload == body.as_bytes());
        own.count()
    });
    if !denied.is_empty() {
        check.fail(format!("denied: {}", denied.join(", ")), RULES);
    } else if let Some(arrived) = arrived.filter(|it| *it < REPORTS.len()) {
        check.fail(
            format!("{arrived} of {} messages arrived", REPORTS.len()),
            RULES,
        );
    } else {
        check.ok("publishes its four topics and subscribes its commands");
    }
    Ok(())
}

async fn speaking(bench: &Bench<'_>, watch: &mut Watch, report: &mut Report) {
    let topics = REPORTS.map(|it| bench.topics.of(&bench.b.id, it));
    let made = attempts(bench, &bench.a.login(), topics).await;
    let arrived = watch.arrived(bench).await;
    let check = report.open("device.publish", "no device speaks for another");
    judge(check, &made, arrived.as_deref());
}

async fn will(bench: &Bench<'_>, watch: &mut Watch, report: &mut Report) {
    let topic = bench.topics.of(&bench.b.id, Channel::Status);
    let body = marker();
    let login = Login {
        will: Some((topic.clone(), body.clone())),
        ..bench.a.login()
    };
    // Dropped without a goodbye, so that the will is due.
    let connected = Probe::connect(&bench.broker, &login).await.map(drop);
    let check = report.open("device.will", "no device leaves a will for another");
    if connected.is_err() {
        check.ok("refused at the connection");
        return;
    }
    let Some(probe) = watch.probe.as_mut() else {
        check.skip(
            "nobody saw whether it was published",
            "give an account that listens: --check-account NAME:FILE",
        );
        return;
    };
    if probe.sees(&body, QUIET * 3).await {
        check.fail(format!("published on {topic}"), RULES);
    } else {
        check.ok("not published");
    }
}

async fn commanding(bench: &Bench<'_>, b: &mut Probe, report: &mut Report) {
    let topics = vec![
        bench.topics.of(&bench.b.id, Channel::Cmd),
        bench.topics.of(&bench.b.id, Channel::Enrol),
        bench.topics.of(&bench.a.id, Channel::Cmd),
    ];
    let mut a = None;
    // Where a name has one session only, this one would be in its own way.
    if commander(bench).is_some()
        && let Ok(mut probe) = Probe::connect(&bench.broker, &bench.a.login()).await
    {
        let topic = bench.topics.of(&bench.a.id, Channel::Cmd);
        probe.subscribe(&topic).await.ok();
        a = Some(probe);
    }
    b.subscribe(&bench.topics.of(&bench.b.id, Channel::Enrol))
        .await
        .ok();
    let made = attempts(bench, &bench.a.login(), topics).await;
    let mut arrived = None;
    if let Some(mut a) = a {
        let by_b = heard(bench, b, &bench.b).await;
        let by_a = heard(bench, &mut a, &bench.a).await;
        arrived = by_b.zip(by_a).map(|(by_b, by_a)| [by_b, by_a].concat());
        a.close().await;
    }
    let check = report.open("device.command", "no device commands another, or itself");
    judge(check, &made, arrived.as_deref());
}

/// The account that may command devices.
fn commander<'b>(bench: &'b Bench<'_>) -> Option<&'b Account> {
    bench.nodes.as_ref().filter(|_| !bench.embedded)
}

/// What `probe` of `subject` heard, once a command of the nodes has come;
/// `None` where none comes.
async fn heard(bench: &Bench<'_>, probe: &mut Probe, subject: &Subject) -> Option<Vec<Got>> {
    let nodes = commander(bench)?;
    let last = marker();
    let topic = bench.topics.of(&subject.id, Channel::Cmd);
    publish_as(bench, &nodes.login(), &topic, &last)
        .await
        .ok()?;
    if !probe.sees(&last, PATIENCE).await {
        return None;
    }
    Some(probe.everything(QUIET).await)
}

async fn listening(bench: &Bench<'_>, b: &mut Probe, report: &mut Report) {
    let (root, other) = (bench.topics.root(), bench.b.id.as_str());
    let filters = [
        "#".to_owned(),
        "+/#".to_owned(),
        format!("{root}/#"),
        format!("{root}/+/cmd"),
        format!("{root}/+/telemetry"),
        format!("{root}/{other}/#"),
        format!("{root}/{other}/cmd"),
        format!("{root}/{other}/enrol"),
        format!("{root}/{other}/status"),
        format!("$share/dormouse-check/{root}/+/telemetry"),
        "$SYS/#".to_owned(),
    ];
    let each = filters.map(|it| vec![it]);
    let check = report.open("device.subscribe", "no device listens to another");
    overhear(bench, b, || bench.a.login(), &each, check).await;
}

/// Subscribes each group of filters over a connection of its own, as some
/// brokers hang up on what they deny, and looks at what comes by those that
/// were granted.
async fn overhear(
    bench: &Bench<'_>,
    b: &mut Probe,
    login: impl Fn() -> Login,
    groups: &[Vec<String>],
    check: Open<'_>,
) {
    let tried = groups.concat().len();
    let mut granted = Vec::new();
    for filters in groups {
        // One at a time: a broker may give a name one session only.
        match subscribe_as(bench, &login(), filters).await {
            Ok((probe, taken)) => {
                probe.close().await;
                granted.extend((taken > 0).then_some(filters));
            }
            Err(error) => return untried(check, filters, &error),
        }
    }
    if granted.is_empty() {
        return check.ok(format!("refused {tried} of {tried}"));
    }
    if bench.embedded {
        let granted: Vec<_> = granted.iter().map(|it| it.join(" or ")).collect();
        return check.fail(format!("granted: {}", granted.join(", ")), RULES);
    }
    let mut listeners = Vec::new();
    for filters in granted {
        match subscribe_as(bench, &login(), filters).await {
            Ok((probe, _)) => listeners.push((probe, filters)),
            Err(error) => return untried(check, filters, &error),
        }
    }
    traffic(bench, b).await;
    let granted = listeners.len();
    let all = listeners
        .into_iter()
        .map(|(mut listener, filters)| async move {
            let all = listener.everything(QUIET).await;
            listener.close().await;
            let foreign = |got: &&Got| {
                let owner = bench.topics.split(&got.topic).map(|it| it.0);
                owner != Some(bench.a.id.as_str())
            };
            let first = all.iter().find(foreign)?;
            Some(format!("{} by {}", first.topic, filters.join(" or ")))
        });
    let overheard: Vec<String> = join_all(all).await.into_iter().flatten().collect();
    if overheard.is_empty() {
        check.ok(format!(
            "{granted} of {tried} were granted, and nothing came by them"
        ));
    } else {
        check.fail(format!("heard {}", overheard.join(", ")), RULES);
    }
}

/// Signs in and subscribes; the session, and how many filters were granted.
async fn subscribe_as(
    bench: &Bench<'_>,
    login: &Login,
    filters: &[String],
) -> Result<(Probe, usize), ConnectError> {
    let mut probe = Probe::connect(&bench.broker, login).await?;
    let mut granted = 0;
    for filter in filters {
        granted += usize::from(probe.subscribe(filter).await == Ok(Answer::Taken));
    }
    Ok((probe, granted))
}

fn untried(check: Open<'_>, filters: &[String], error: &ConnectError) {
    let filters = filters.join(" and ");
    check.warn(format!("{filters} could not be tried: {error}"), AGAIN);
}

/// Everything that can be said by and to `b`.
async fn traffic(bench: &Bench<'_>, b: &mut Probe) {
    for channel in REPORTS {
        let topic = bench.topics.of(&bench.b.id, channel);
        let retained = channel == Channel::Status;
        b.publish(&topic, &marker(), retained).await.ok();
    }
    if let Some(nodes) = &bench.nodes {
        let topic = bench.topics.of(&bench.b.id, Channel::Cmd);
        publish_as(bench, &nodes.login(), &topic, &marker())
            .await
            .ok();
    }
}

/// The client id is free, so it must be worth nothing.
async fn names(bench: &Bench<'_>, b: &mut Probe, watch: &mut Watch, report: &mut Report) {
    let as_client = |client_id: &str| Login {
        client_id: client_id.to_owned(),
        ..bench.a.login()
    };
    let refused = "refused at the connection";
    let check = report.open(
        "device.client-id.wildcard",
        "a client id with a wildcard reaches nobody",
    );
    if is_kept_out(bench, &as_client("+")).await {
        check.ok(refused);
    } else {
        let everybody = format!("{}/+/cmd", bench.topics.root());
        let wild = vec![everybody, bench.topics.of(&bench.b.id, Channel::Cmd)];
        overhear(bench, b, || as_client("+"), &[wild], check).await;
    }

    let login = as_client(bench.b.id.as_str());
    let check_id = "device.client-id.other";
    let title = "another device's id as client id is worth nothing";
    if is_kept_out(bench, &login).await {
        report.open(check_id, title).ok(refused);
        return;
    }
    let topics = REPORTS.map(|it| bench.topics.of(&bench.b.id, it));
    let made = attempts(bench, &login, topics).await;
    let arrived = watch.arrived(bench).await;
    judge(report.open(check_id, title), &made, arrived.as_deref());
}

/// Whether the broker refuses that device under that client id.
async fn is_kept_out(bench: &Bench<'_>, login: &Login) -> bool {
    match Probe::connect(&bench.broker, login).await {
        Ok(probe) => {
            probe.close().await;
            false
        }
        Err(error) => matches!(error, ConnectError::Refused(_)),
    }
}
