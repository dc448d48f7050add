//! Messages that a real PostgreSQL refuses.

use super::*;

/// Has the database refuse samples of `device` that carry a current.
async fn refuse_currents(site: &Site, device: usize) {
    let sql = format!(
        "ALTER TABLE samples ADD CONSTRAINT sane CHECK (device <> {} OR current_ma IS NULL)",
        site.key(device).0
    );
    site.db.execute(&sql, &[]).await.unwrap();
}

/// How many messages of each strip are put aside, with the reason and what
/// they say.
async fn aside(site: &Site) -> Vec<(i32, String, String)> {
    let sql = "SELECT device, why, message FROM refused_messages ORDER BY nr";
    let rows = site.db.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect()
}

/// Strips that send to one node and note what ought to be stored.
struct Strips<'a> {
    site: &'a Site,
    node: &'a Node,
    sheet: Sheet,
    sent: u32,
    expected: Vec<Vec<i32>>,
}

/// The strip of which some messages are refused.
const ILL: usize = 3;

impl<'a> Strips<'a> {
    fn new(site: &'a Site, node: &'a Node) -> Self {
        Self {
            site,
            node,
            sheet: Sheet::default(),
            sent: 0,
            expected: vec![Vec::new(); DEVICES],
        }
    }

    fn send(&mut self, device: usize, measured: &str) {
        self.sent += 1;
        let body = format!(r#"{{"powerW":{}{measured}}}"#, self.sent);
        let note = Box::new(Note(self.sheet.clone(), (device, self.sent)));
        let key = self.site.key(device);
        self.node.send(key, Channel::Telemetry, &body, note);
    }

    /// Each strip says something, and the ill one sometimes more.
    fn speak(&mut self, rounds: std::ops::Range<u32>) {
        for round in rounds {
            for device in 0..DEVICES {
                self.send(device, "");
                let power = i32::try_from(self.sent).unwrap() * 10;
                self.expected[device].push(power);
            }
            if round % 4 == 1 {
                self.send(ILL, r#","currentA":1.5"#);
            }
        }
    }

    async fn are_acknowledged(&self) {
        let all = usize::try_from(self.sent).unwrap();
        until("acknowledged", || self.sheet.0.lock().unwrap().len() == all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_refuses_is_put_aside_and_holds_nobody_up() {
    let server = Server::start(&Options::default()).unwrap();
    let site = Site::at(server.database().unwrap().url).await;
    refuse_currents(&site, ILL).await;
    let node = Node::start(&site, 1).await;
    let mut strips = Strips::new(&site, &node);
    strips.speak(0..8);
    strips.are_acknowledged().await;
    let figures = node.committer.figures();
    let found = (figures.direct, figures.refused, figures.journalled);
    assert_eq!(found, (true, 2, 0));

    server.stop().unwrap();
    strips.speak(8..16);
    strips.are_acknowledged().await;
    server.run().unwrap();
    until("replayed", || node.committer.figures().direct).await;
    strips.speak(16..20);
    strips.are_acknowledged().await;
    until("kept", || node.committer.figures().waiting == 0).await;
    for (device, expected) in strips.expected.iter().enumerate() {
        assert_eq!(site.powers(device).await, *expected, "strip {device}");
    }
    let aside = aside(&site).await;
    assert_eq!(aside.len(), 5);
    for (device, why, message) in aside {
        assert_eq!(device.unsigned_abs(), site.key(ILL).0);
        assert!(why.contains("sane"), "{why}");
        assert!(message.contains(r#""currentA":1.5"#), "{message}");
    }
    let said = describe(&node.committer.figures()).unwrap().unwrap();
    assert!(said.contains("5 messages"), "{said}");
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_again_is_taken_once_the_cause_is_mended() {
    let site = Site::at(Server::shared().database().unwrap().url).await;
    refuse_currents(&site, ILL).await;
    let node = Node::start(&site, 1).await;
    let mut strips = Strips::new(&site, &node);
    strips.speak(0..8);
    strips.are_acknowledged().await;
    let again = "UPDATE refused_messages SET again = true";
    assert_eq!(site.db.execute(again, &[]).await.unwrap(), 2);
    node.committer.look_aside().await.unwrap();
    assert_eq!(aside(&site).await.len(), 2, "refused anew");
    node.committer.look_aside().await.unwrap();
    assert_eq!(node.committer.figures().aside, 2);

    let mend = "ALTER TABLE samples DROP CONSTRAINT sane";
    site.db.execute(mend, &[]).await.unwrap();
    assert_eq!(site.db.execute(again, &[]).await.unwrap(), 2);
    for _ in 0..2 {
        node.committer.look_aside().await.unwrap();
        assert_eq!(describe(&node.committer.figures()), Ok(None));
        assert_eq!(site.powers(ILL).await.len(), 10);
    }
    node.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_row_is_damaged_is_put_aside_until_it_is_mended() {
    let site = Site::at(Server::shared().database().unwrap().url).await;
    let node = Node::start(&site, 1).await;
    let damage = "INSERT INTO intake (device, tail) VALUES ($1, 'no tail')
        ON CONFLICT (device) DO UPDATE SET tail = excluded.tail";
    let ill = i32::try_from(site.key(2).0).unwrap();
    site.db.execute(damage, &[&ill]).await.unwrap();
    let sheet = Sheet::default();
    for device in 0..DEVICES {
        let (channel, body) = message(1);
        let note = Box::new(Note(sheet.clone(), (device, 1)));
        node.send(site.key(device), channel, &body, note);
    }
    until("acknowledged", || sheet.0.lock().unwrap().len() == DEVICES).await;
    for device in 0..DEVICES {
        let kept = site.powers(device).await.len();
        assert_eq!(kept, usize::from(device != 2), "strip {device}");
    }
    let aside = aside(&site).await;
    assert_eq!(aside.len(), 1);
    assert!(aside[0].1.contains("intake.tail"), "{aside:?}");
    node.kill().await;
}
