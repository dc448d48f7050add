//! Several nodes on one database, against what one node would have stored.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const NODES: usize = 3;
const DEVICES: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    /// A device says something, which reaches a node.
    Publish(usize, Kind, usize),
    /// The broker delivers something again, some messages back, to a node.
    Again(usize, usize),
    /// Two messages of a device reach two nodes in the wrong order.
    Swapped(usize, Kind, usize, usize),
    Turn(usize),
    Crash(usize),
    Trouble(Trouble),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Stamped,
    Counted,
    Event,
    Status,
    /// A reading that the store refuses.
    Ill,
}

/// The current of readings that the store refuses.
const ILL_MA: i32 = 6_660;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Stamped),
        Just(Kind::Counted),
        Just(Kind::Event),
        Just(Kind::Status),
        Just(Kind::Ill),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let (device, node) = (0..DEVICES, 0..NODES);
    let trouble = prop_oneof![
        2 => Just(Trouble::None),
        1 => Just(Trouble::Down),
        1 => Just(Trouble::Fails),
        1 => Just(Trouble::Forgets),
        1 => Just(Trouble::Hangs),
    ];
    prop_oneof![
        8 => (device.clone(), kind(), node.clone()).prop_map(|(d, k, n)| Act::Publish(d, k, n)),
        3 => (0_usize..40, node.clone()).prop_map(|(back, n)| Act::Again(back, n)),
        2 => (device, kind(), node.clone(), node.clone())
            .prop_map(|(d, k, a, b)| Act::Swapped(d, k, a, b)),
        6 => node.clone().prop_map(Act::Turn),
        1 => node.prop_map(Act::Crash),
        1 => trouble.prop_map(Act::Trouble),
    ]
}

/// What a device said.
#[derive(Debug, Clone)]
struct Said {
    device: usize,
    kind: Kind,
    seq: u32,
}

impl Said {
    fn channel(&self) -> Channel {
        match self.kind {
            Kind::Stamped | Kind::Counted | Kind::Ill => Channel::Telemetry,
            Kind::Event => Channel::Event,
            Kind::Status => Channel::Status,
        }
    }

    fn body(&self) -> String {
        let seq = self.seq;
        match self.kind {
            Kind::Stamped => {
                let ts = NOW.as_millis() - 100_000 + i64::from(seq);
                format!(r#"{{"ts":{ts},"powerW":{seq}}}"#)
            }
            Kind::Counted => format!(r#"{{"boot":1,"seq":{seq},"powerW":{seq}}}"#),
            Kind::Ill => format!(r#"{{"boot":1,"seq":{seq},"currentA":6.66}}"#),
            Kind::Event => format!(r#"{{"boot":1,"seq":{seq},"type":"e{seq}"}}"#),
            Kind::Status => format!(r#"{{"boot":1,"seq":{seq},"online":true}}"#),
        }
    }
}

struct World {
    site: Site,
    nodes: Vec<Node>,
    said: Vec<Said>,
    seqs: [u32; DEVICES],
    /// What each delivery was of, and to which node.
    deliveries: Vec<(usize, usize)>,
    answers: Answers,
    acknowledged: BTreeSet<usize>,
}

impl World {
    async fn new() -> Self {
        let site = Site::with_devices(3).await;
        site.store.refuse(refuse_current(ILL_MA));
        let mut nodes = Vec::new();
        for id in 0..NODES {
            let journal = MemoryJournal::default().with_id(id as u64);
            nodes.push(Node::start(&site, journal).await);
        }
        Self {
            site,
            nodes,
            said: Vec::new(),
            seqs: [0; DEVICES],
            deliveries: Vec::new(),
            answers: Answers::default(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn say(&mut self, device: usize, kind: Kind) -> usize {
        self.seqs[device] += 1;
        self.said.push(Said {
            device,
            kind,
            seq: self.seqs[device],
        });
        self.said.len() - 1
    }

    fn deliver(&mut self, message: usize, node: usize) {
        let said = &self.said[message];
        let receipt = self.answers.receipt(self.deliveries.len());
        self.deliveries.push((message, node));
        let device = self.site.keys[said.device];
        self.nodes[node].send(device, said.channel(), &said.body(), receipt);
    }

    /// Takes down which messages senders may forget.
    fn note_answers(&mut self) {
        for (number, (message, _)) in self.deliveries.iter().enumerate() {
            if self.answers.of(number) == Some("done") {
                self.acknowledged.insert(*message);
            }
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Publish(device, kind, node) => {
                let message = self.say(device, kind);
                self.deliver(message, node);
            }
            Act::Again(back, node) => {
                if let Some(message) = self.said.len().checked_sub(1 + back) {
                    self.deliver(message, node);
                }
            }
            Act::Swapped(device, kind, a, b) => {
                let (first, second) = (self.say(device, kind), self.say(device, kind));
                self.deliver(second, a);
                self.deliver(first, b);
            }
            Act::Turn(node) => {
                self.nodes[node].turn().await;
            }
            Act::Crash(node) => {
                let old = self.nodes.remove(node);
                self.nodes.insert(node, old.restart(&self.site).await);
                self.note_answers();
                self.deliver_what_is_open((node + 1) % NODES);
            }
            Act::Trouble(trouble) => self.site.store.set_trouble(trouble),
        }
    }

    /// The broker sends again what nobody acknowledged and nobody has.
    fn deliver_what_is_open(&mut self, node: usize) {
        let held: BTreeSet<usize> = self
            .deliveries
            .iter()
            .enumerate()
            .filter(|(number, _)| self.answers.of(*number).is_none())
            .map(|(_, (message, _))| *message)
            .collect();
        for message in 0..self.said.len() {
            if !self.acknowledged.contains(&message) && !held.contains(&message) {
                self.deliver(message, node);
            }
        }
    }

    async fn come_to_rest(&mut self) {
        self.site.store.set_trouble(Trouble::None);
        for _ in 0..2 {
            for node in &self.nodes {
                node.work_off().await;
            }
            self.note_answers();
            self.deliver_what_is_open(0);
        }
        // Of a device with many refused messages good ones may be aside, too.
        self.site.store.want_again();
        self.nodes[0].committer.look_aside().await.unwrap();
    }
}

/// Everything is stored once, whatever happened; reports end with the newest.
async fn check(world: &World) -> Result<(), TestCaseError> {
    prop_assert_eq!(world.acknowledged.len(), world.said.len());
    let events = world.site.events().await;
    for (index, device) in world.site.keys.iter().enumerate() {
        let said = |wanted: fn(Kind) -> bool| -> Vec<u32> {
            let of_device = world.said.iter().filter(|it| it.device == index);
            of_device
                .filter(|it| wanted(it.kind))
                .map(|it| it.seq)
                .collect()
        };
        let mut powers = world.site.powers(*device).await;
        powers.sort_unstable();
        let expected: Vec<_> = said(|kind| matches!(kind, Kind::Stamped | Kind::Counted))
            .into_iter()
            .map(|seq| i32::try_from(seq).unwrap() * 10)
            .collect();
        prop_assert_eq!(powers, expected);
        let mut kinds: Vec<_> = events
            .iter()
            .filter(|it| it.device.as_ref().is_some_and(|(key, _)| key == device))
            .map(|it| it.kind.name())
            .collect();
        kinds.sort_by_key(|it| it["device.e".len()..].parse::<u32>().unwrap());
        let expected: Vec<_> = said(|kind| matches!(kind, Kind::Event))
            .into_iter()
            .map(|seq| format!("device.e{seq}"))
            .collect();
        prop_assert_eq!(kinds, expected);
        let aside = world.site.store.aside();
        let aside = aside.iter().filter(|it| it.device == *device).count();
        prop_assert_eq!(aside, said(|kind| matches!(kind, Kind::Ill)).len());
        let newest = said(|kind| matches!(kind, Kind::Status)).last().copied();
        let reported = world.site.reported(*device).await.map(|(_, seq)| seq);
        let event = said(|kind| matches!(kind, Kind::Event)).last().copied();
        if newest > event {
            prop_assert_eq!(reported, newest);
        } else {
            // A report that comes after an event of a higher number is late.
            prop_assert!(reported <= newest, "{:?} of {:?}", reported, newest);
        }
    }
    Ok(())
}

fn run(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for act in acts {
            world.act(act).await;
        }
        world.come_to_rest().await;
        check(&world).await
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn several_nodes_store_what_one_would_have(acts in prop::collection::vec(act(), 1..150)) {
        run(acts)?;
    }
}
