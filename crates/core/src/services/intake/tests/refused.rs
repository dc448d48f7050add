//! Messages that the store refuses for what they are.

use super::*;

/// The body of a sample that the store refuses.
const ILL: &str = r#"{"currentA":6.66,"powerW":0}"#;
const ILL_MA: i32 = 6_660;

/// A site whose store refuses some samples, and one node.
struct Bench {
    site: Site,
    node: Node,
    answers: Answers,
    sent: usize,
}

impl Bench {
    async fn with_devices(count: u32) -> Self {
        let site = Site::with_devices(count).await;
        site.store.refuse(refuse_current(ILL_MA));
        let node = Node::start(&site, MemoryJournal::default()).await;
        Self {
            site,
            node,
            answers: Answers::default(),
            sent: 0,
        }
    }

    fn send(&mut self, device: usize, body: &str) {
        self.sent += 1;
        let receipt = self.answers.receipt(self.sent);
        let device = self.site.keys[device];
        self.node.send(device, Channel::Telemetry, body, receipt);
    }

    fn power(&mut self, device: usize, power: i32) {
        self.send(device, &format!(r#"{{"powerW":{power}}}"#));
    }

    fn assert_all_acknowledged(&self) {
        for number in 1..=self.sent {
            assert_eq!(self.answers.of(number), Some("done"), "message {number}");
        }
    }

    /// The devices of messages put aside.
    fn aside(&self) -> Vec<DeviceKey> {
        self.site.store.aside().iter().map(|it| it.device).collect()
    }

    async fn powers(&self, device: usize) -> Vec<i32> {
        self.site.powers(self.site.keys[device]).await
    }

    fn news(&self) -> Vec<String> {
        let news = self.node.committer.refusal_news().into_iter();
        news.map(|it| match it {
            RefusalNews::Refused { device, why } => format!("{} refused: {why}", device.unwrap()),
            RefusalNews::Taken { device } => format!("{} taken", device.unwrap()),
        })
        .collect()
    }
}

#[tokio::test]
async fn what_the_store_refuses_is_put_aside_and_the_rest_is_kept_in_order() {
    let mut bench = Bench::with_devices(3).await;
    for n in 1..=5 {
        bench.power(0, n);
        bench.power(1, n);
        bench.power(2, n);
        if n == 3 {
            bench.send(1, ILL);
        }
    }
    assert_eq!(bench.answers.of(1), None);
    bench.node.work_off().await;
    bench.assert_all_acknowledged();
    for device in 0..3 {
        assert_eq!(bench.powers(device).await, [10, 20, 30, 40, 50]);
    }
    let aside = bench.site.store.aside();
    assert_eq!(bench.aside(), [bench.site.keys[1]]);
    assert!(aside[0].shown.contains(r#""currentA":6.66"#), "{aside:?}");
    assert!(aside[0].why.contains("device 2 is ill"), "{aside:?}");
    let figures = bench.node.committer.figures();
    assert_eq!((figures.refused, figures.aside), (1, 1));
    assert!(figures.direct);
    assert_eq!(figures.journalled, 0);
    let why = "backend refuses the data: device 2 is ill";
    assert_eq!(bench.news(), [format!("strip-1 refused: {why}")]);
}

#[tokio::test]
async fn a_journal_with_refused_messages_is_replayed_to_its_end() {
    let mut bench = Bench::with_devices(2).await;
    bench.site.store.set_trouble(Trouble::Down);
    bench.power(0, 1);
    bench.send(1, ILL);
    assert!(bench.node.turn().await.is_none());
    bench.power(1, 2);
    bench.send(0, ILL);
    bench.power(0, 3);
    bench.assert_all_acknowledged();
    bench.node = bench.node.restart(&bench.site).await;
    bench.site.store.set_trouble(Trouble::None);
    bench.power(0, 4);
    bench.node.work_off().await;
    assert!(bench.node.committer.figures().direct);
    assert_eq!(bench.powers(0).await, [10, 30, 40]);
    assert_eq!(bench.powers(1).await, [20]);
    assert_eq!(bench.aside().len(), 2);
    bench.node = bench.node.restart(&bench.site).await;
    bench.node.work_off().await;
    assert_eq!(bench.powers(0).await, [10, 30, 40], "not again");
    assert_eq!(bench.aside().len(), 2);
}

#[tokio::test]
async fn a_device_that_is_ill_holds_nobody_up_and_is_told_once() {
    let mut bench = Bench::with_devices(40).await;
    bench.send(7, ILL);
    bench.node.work_off().await;
    assert_eq!(bench.news().len(), 1);
    for n in 1..=3_usize {
        for device in 0..40 {
            bench.power(device, 5);
        }
        bench.send(7, ILL);
        let mut steps = 0;
        while bench.node.turn().await.unwrap() != Step::default() {
            steps += 1;
        }
        assert!(steps <= 4, "its own messages alone are tried: {steps}");
        assert_eq!(bench.powers(8).await.len(), n);
        assert_eq!(bench.powers(7).await.len(), n);
    }
    assert!(bench.news().is_empty());
    bench.power(7, 9);
    bench.node.work_off().await;
    assert_eq!(bench.news(), ["strip-7 taken"]);
    bench.assert_all_acknowledged();
}

#[tokio::test]
async fn a_store_that_refuses_everybody_is_waited_for() {
    let mut bench = Bench::with_devices(20).await;
    for device in 0..20 {
        bench.send(device, ILL);
    }
    while bench.node.turn().await.is_some() {}
    assert!(!bench.node.committer.figures().direct, "in the journal");
    while bench.node.turn().await.is_some() {}
    assert!(bench.aside().is_empty());
    bench.site.store.refuse_nothing();
    bench.node.work_off().await;
    for device in 0..20 {
        assert_eq!(bench.powers(device).await, [0]);
    }
    assert!(bench.aside().is_empty());
    bench.assert_all_acknowledged();
}

#[tokio::test]
async fn a_store_that_ails_while_messages_are_sifted_gets_them_later() {
    let mut bench = Bench::with_devices(8).await;
    for device in 0..8 {
        bench.power(device, 1);
    }
    bench.send(3, ILL);
    for trouble in [Trouble::Down, Trouble::Fails, Trouble::Forgets] {
        assert!(bench.node.turn().await.unwrap().sifting);
        bench.site.store.set_trouble(trouble);
        while bench.node.turn().await.is_some() {}
        bench.site.store.set_trouble(Trouble::None);
    }
    bench.node.work_off().await;
    for device in 0..8 {
        assert_eq!(bench.powers(device).await, [10], "strip {device}");
    }
    assert_eq!(bench.aside(), [bench.site.keys[3]]);
    bench.assert_all_acknowledged();
}

#[tokio::test]
async fn a_message_put_aside_is_kept_once_when_a_person_wants_it_tried_again() {
    let mut bench = Bench::with_devices(2).await;
    bench.send(0, ILL);
    bench.send(1, r#"{"boot":1,"seq":4,"currentA":6.66,"powerW":3}"#);
    bench.node.work_off().await;
    assert_eq!(bench.aside().len(), 2);
    let committer = &bench.node.committer;
    committer.look_aside().await.unwrap();
    assert_eq!(committer.figures().aside, 2, "nobody asked for them");
    bench.site.store.want_again();
    committer.look_aside().await.unwrap();
    assert_eq!(committer.figures().aside, 2, "still refused");
    bench.site.store.refuse_nothing();
    committer.look_aside().await.unwrap();
    assert_eq!(committer.figures().aside, 2, "asked for once");
    bench.site.store.want_again();
    bench.site.store.set_trouble(Trouble::Forgets);
    committer.look_aside().await.unwrap();
    bench.site.store.set_trouble(Trouble::None);
    committer.look_aside().await.unwrap();
    assert_eq!(committer.figures().aside, 0);
    assert_eq!(bench.powers(0).await, [0]);
    assert_eq!(bench.powers(1).await, [30]);
    let other = Node::start(&bench.site, MemoryJournal::default().with_id(2)).await;
    let repeat = r#"{"boot":1,"seq":4,"powerW":3}"#;
    let receipt = bench.answers.receipt(9);
    other.send(bench.site.keys[1], Channel::Telemetry, repeat, receipt);
    other.work_off().await;
    assert_eq!(bench.powers(1).await, [30], "its repeat is recognised");
}
