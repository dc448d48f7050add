//! Strips that publish at QoS 1 as fast as they are acknowledged, keep what is
//! not, send it again, and know exactly what they were told.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dormouse::clock::SystemClock;
use dormouse_core::clock::Clock as _;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{PATIENCE, Server, eventually};

/// Messages under way per strip.
const WINDOW: usize = 20;

/// Strips on a server that may come and go.
pub(crate) struct Strips {
    strips: Vec<Arc<Strip>>,
    tasks: JoinSet<()>,
    address: watch::Sender<Option<(String, u16)>>,
    stop: watch::Sender<bool>,
    started_ms: u64,
}

/// How fast strips publish.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// As fast as they are acknowledged.
    Flat,
    /// One window in this time: where an acknowledgement does not say that the
    /// server keeps up.
    Window(Duration),
}

impl Pace {
    const fn slower(self) -> Self {
        match self {
            Self::Flat => Self::Flat,
            Self::Window(time) => Self::Window(time.saturating_mul(4)),
        }
    }
}

struct Strip {
    pace: Pace,
    id: String,
    password: String,
    /// Whether its samples carry a time; else they are known by (boot, seq).
    stamped: bool,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// Samples are numbered; the number is their power in 0.1 W.
    next: u32,
    waiting: BTreeSet<u32>,
    acknowledged: BTreeSet<u32>,
}

impl Strips {
    /// Adds `count` strips to `server` and lets them publish.
    pub(crate) async fn start(server: &Server, count: u32) -> Self {
        Self::start_at(server, count, Pace::Flat).await
    }

    /// [`Strips::start`] on a broker that acknowledges before the server has
    /// the message: with some 40 messages a second each, 10 from those whose
    /// samples carry no time. Of these a repeat is known among the last 256,
    /// which must last for longer than the messages of a dead node wait.
    pub(crate) async fn start_paced(server: &Server, count: u32) -> Self {
        Self::start_at(server, count, Pace::Window(Duration::from_millis(500))).await
    }

    async fn start_at(server: &Server, count: u32, pace: Pace) -> Self {
        let started_ms = SystemClock::start().now().as_millis().unsigned_abs();
        let (address, _) = watch::channel(Some(server.mqtt()));
        let (stop, _) = watch::channel(false);
        let mut strips = Vec::new();
        let mut tasks = JoinSet::new();
        for n in 0..count {
            let id = format!("strip-{n}");
            let stamped = n % 2 == 0;
            let strip = Arc::new(Strip {
                pace: if stamped { pace } else { pace.slower() },
                password: server.add_device(&id, 2).await,
                id,
                stamped,
                log: Mutex::default(),
            });
            tasks.spawn(Arc::clone(&strip).run(address.subscribe(), stop.subscribe(), started_ms));
            strips.push(strip);
        }
        Self {
            strips,
            tasks,
            address,
            stop,
            started_ms,
        }
    }

    /// The server is gone.
    pub(crate) fn lose_server(&self) {
        self.address.send_replace(None);
    }

    /// The server is there again.
    pub(crate) fn find_server(&self, server: &Server) {
        self.address.send_replace(Some(server.mqtt()));
    }

    /// How many samples were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        let count = |strip: &Arc<Strip>| strip.log.lock().unwrap().acknowledged.len();
        self.strips.iter().map(count).sum()
    }

    /// Waits until `more` samples are acknowledged than now.
    pub(crate) async fn wait_for(&self, more: usize) {
        let wanted = self.acknowledged() + more;
        let what = format!("{wanted} acknowledgements");
        eventually(&what, async || {
            (self.acknowledged() >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until nothing was acknowledged for a while.
    pub(crate) async fn wait_for_standstill(&self) {
        let moved = Cell::new((self.acknowledged(), Instant::now()));
        eventually("a standstill", async || {
            let now = self.acknowledged();
            if now != moved.get().0 {
                moved.set((now, Instant::now()));
            }
            (moved.get().1.elapsed() > Duration::from_secs(2)).then_some(())
        })
        .await;
    }

    /// Lets the strips finish: all that they sent is acknowledged.
    pub(crate) async fn finish(&mut self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, async {
            while let Some(done) = self.tasks.join_next().await {
                done.unwrap();
            }
        })
        .await
        .expect("everything is acknowledged in time");
    }

    /// What every strip was told is kept.
    pub(crate) fn told(&self) -> Vec<BTreeSet<u32>> {
        let told = |strip: &Arc<Strip>| strip.log.lock().unwrap().acknowledged.clone();
        self.strips.iter().map(told).collect()
    }

    /// What strips were `told` is in the history of `server`, and no sample
    /// twice.
    pub(crate) async fn account_for(&self, server: &Server, told: &[BTreeSet<u32>]) {
        for (strip, told) in self.strips.iter().zip(told) {
            let what = format!("{} samples of {}", told.len(), strip.id);
            let kept = eventually(&what, async || {
                let kept = self.kept(server, strip).await?;
                (kept.len() >= told.len()).then_some(kept)
            })
            .await;
            let once: BTreeSet<_> = kept.iter().copied().collect();
            assert_eq!(once.len(), kept.len(), "{}: some twice", strip.id);
            let missing: Vec<_> = told.difference(&once).collect();
            assert!(missing.is_empty(), "{}: missing {missing:?}", strip.id);
        }
    }

    /// The samples of `strip` that `server` has; `None` while it does not say.
    async fn kept(&self, server: &Server, strip: &Strip) -> Option<Vec<u32>> {
        let hour_ms = 3_600_000;
        let (from, to) = (self.started_ms - hour_ms, self.started_ms + hour_ms);
        let path = format!(
            "/api/v1/devices/{}/history.csv?from={from}&to={to}&resolution=raw",
            strip.id
        );
        // Too many requests, or a database that is just coming back.
        let (status, csv) = server.request(Method::GET, &path, None).await;
        Some(powers(csv.as_str().filter(|_| status.is_success())?))
    }

    /// Every acknowledged sample is in the history, once; and nothing else is.
    pub(crate) async fn account(&self, server: &Server) {
        for strip in &self.strips {
            let sent = strip.log.lock().unwrap().next;
            let deadline = Instant::now() + PATIENCE;
            let kept = eventually(&format!("{sent} samples of {}", strip.id), async || {
                let kept = self.kept(server, strip).await?;
                // Better to say which are missing than how long it took.
                let is_late = Instant::now() + PATIENCE / 10 > deadline;
                (kept.len() >= sent as usize || is_late).then_some(kept)
            })
            .await;
            let once: BTreeSet<_> = kept.iter().copied().collect();
            let missing: Vec<_> = (0..sent).filter(|it| !once.contains(it)).collect();
            assert!(missing.is_empty(), "{}: missing {missing:?}", strip.id);
            let mut times = BTreeMap::new();
            for number in kept {
                *times.entry(number).or_insert(0) += 1;
            }
            times.retain(|number, times| *times != 1 || *number >= sent);
            assert!(times.is_empty(), "{}: kept how often: {times:?}", strip.id);
        }
    }
}

/// The numbers of the samples in a CSV export.
fn powers(csv: &str) -> Vec<u32> {
    let mut lines = csv.lines();
    let header = lines.next().unwrap();
    let column = header
        .split(',')
        .position(|name| name == "power_w")
        .unwrap();
    lines
        .map(|line| {
            let watts = line.split(',').nth(column).unwrap();
            let (whole, tenth) = watts.split_once('.').unwrap_or((watts, "0"));
            whole.parse::<u32>().unwrap() * 10 + tenth.parse::<u32>().unwrap()
        })
        .collect()
}

impl Strip {
    async fn run(
        self: Arc<Self>,
        mut address: watch::Receiver<Option<(String, u16)>>,
        stop: watch::Receiver<bool>,
        started_ms: u64,
    ) {
        while !self.is_done(&stop) {
            let server = address.wait_for(Option::is_some).await.unwrap().clone();
            let session = self.session(server.unwrap(), &stop, started_ms);
            tokio::select! {
                // A broken connection is what these tests are about.
                result = session => drop(result),
                _ = address.wait_for(Option::is_none) => {}
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn is_done(&self, stop: &watch::Receiver<bool>) -> bool {
        *stop.borrow() && self.log.lock().unwrap().waiting.is_empty()
    }

    async fn session(
        &self,
        server: (String, u16),
        stop: &watch::Receiver<bool>,
        started_ms: u64,
    ) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(&self.connect_packet()).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer != [0x20, 2, 0, 0] {
            return Err(std::io::Error::other("refused"));
        }
        let mut under_way: BTreeMap<u16, u32> = BTreeMap::new();
        let mut packet_id = 0_u16;
        let mut again: Vec<u32> = self.log.lock().unwrap().waiting.iter().copied().collect();
        again.reverse();
        loop {
            let mut out = Vec::new();
            while under_way.len() < WINDOW {
                let Some(number) = again.pop().or_else(|| self.next(stop)) else {
                    break;
                };
                packet_id = packet_id % 60_000 + 1;
                under_way.insert(packet_id, number);
                self.publish_packet(&mut out, packet_id, number, started_ms);
            }
            stream.write_all(&out).await?;
            if under_way.is_empty() {
                return Ok(());
            }
            if let Pace::Window(time) = self.pace
                && under_way.len() == WINDOW
            {
                tokio::time::sleep(time / 20).await;
            }
            let mut ack = [0; 4];
            stream.read_exact(&mut ack).await?;
            assert_eq!(ack[..2], [0x40, 2], "a PUBACK");
            let number = under_way.remove(&u16::from_be_bytes([ack[2], ack[3]]));
            let number = number.expect("a PUBACK for what was sent");
            let mut log = self.log.lock().unwrap();
            log.waiting.remove(&number);
            log.acknowledged.insert(number);
        }
    }

    fn next(&self, stop: &watch::Receiver<bool>) -> Option<u32> {
        if *stop.borrow() {
            return None;
        }
        let mut log = self.log.lock().unwrap();
        let number = log.next;
        log.next += 1;
        log.waiting.insert(number);
        Some(number)
    }

    fn connect_packet(&self) -> Vec<u8> {
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0010, 0, 60];
        for text in [&self.id, &self.id, &self.password] {
            put_text(&mut body, text);
        }
        packet(0x10, &body)
    }

    fn publish_packet(&self, out: &mut Vec<u8>, packet_id: u16, number: u32, started_ms: u64) {
        let mut body = Vec::new();
        put_text(&mut body, &format!("dorm/{}/telemetry", self.id));
        body.extend(packet_id.to_be_bytes());
        let place = if self.stamped {
            format!(r#""ts":{}"#, started_ms + u64::from(number))
        } else {
            format!(r#""boot":1,"seq":{number}"#)
        };
        let power = format!("{}.{}", number / 10, number % 10);
        body.extend(format!(r#"{{{place},"powerW":{power}}}"#).bytes());
        out.extend(packet(0x32, &body));
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    let mut len = body.len();
    while len >= 128 {
        out.push(u8::try_from(len % 128).unwrap() | 0x80);
        len /= 128;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend(body);
    out
}
