//! Saying, as a device, what must not arrive.

use super::Bench;
use super::client::{Answer, ConnectError, Got, Login, Probe};
use super::device::RULES;
use super::report::Open;

/// What to do where a device that has an account could not sign in.
pub(super) const AGAIN: &str =
    "try again; if it stays so, see why the broker keeps a device out that has an account";

/// A body that must not arrive, and what the broker said to it.
pub(super) struct Attempt {
    topic: String,
    body: String,
    said: Said,
}

/// What came of an attempt.
enum Said {
    /// The broker took it.
    Taken,
    /// It said no, or hung up.
    Refused,
    /// The device could not sign in.
    Untried(ConnectError),
}

/// Publishes over a connection of its own: some brokers hang up on what they
/// deny. The answer is `None` where the broker hung up.
pub(super) async fn publish_as(
    bench: &Bench<'_>,
    login: &Login,
    topic: &str,
    body: &str,
) -> Result<Option<Answer>, ConnectError> {
    let mut probe = Probe::connect(&bench.broker, login).await?;
    let answer = probe.publish(topic, body, false).await;
    probe.close().await;
    Ok(answer.ok())
}

/// Publishes a body of its own on each of `topics`.
pub(super) async fn attempts(
    bench: &Bench<'_>,
    login: &Login,
    topics: impl IntoIterator<Item = String>,
) -> Vec<Attempt> {
    let mut made = Vec::new();
    for topic in topics {
        let body = super::marker();
        let said = match publish_as(bench, login, &topic, &body).await {
            Ok(Some(Answer::Taken)) => Said::Taken,
            Ok(Some(Answer::Refused(_)) | None) => Said::Refused,
            Err(error) => Said::Untried(error),
        };
        made.push(Attempt { topic, body, said });
    }
    made
}

/// Judges attempts by what arrived; without a witness by what the broker said.
pub(super) fn judge(check: Open<'_>, made: &[Attempt], arrived: Option<&[Got]>) {
    let came = |it: &Attempt| {
        let mut bodies = arrived.unwrap_or_default().iter().map(|got| &got.payload);
        bodies.any(|body| *body == it.body.as_bytes())
    };
    let through = topics(made, came);
    let taken = topics(made, |it| matches!(it.said, Said::Taken));
    let untried = made.iter().find_map(|it| match &it.said {
        Said::Untried(error) => Some((&it.topic, error)),
        Said::Taken | Said::Refused => None,
    });
    if !through.is_empty() {
        check.fail(format!("arrived: {through}"), RULES);
    } else if let Some((topic, error)) = untried {
        check.warn(format!("{topic} could not be tried: {error}"), AGAIN);
    } else if arrived.is_some() {
        check.ok(format!("0 of {} arrived", made.len()));
    } else if taken.is_empty() {
        check.ok(format!("refused {0} of {0}", made.len()));
    } else {
        check.warn(
            format!("not refused, and nobody saw whether it arrived: {taken}"),
            "give an account that listens: --check-account NAME:FILE",
        );
    }
}

fn topics(made: &[Attempt], which: impl Fn(&Attempt) -> bool) -> String {
    let of = made.iter().filter(|it| which(it));
    let topics: Vec<_> = of.map(|it| it.topic.as_str()).collect();
    topics.join(", ")
}
