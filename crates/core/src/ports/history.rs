//! History: every sample, its rollups, and how far the journal was taken in.

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;

use super::PortError;
use super::journal::Progress;
use crate::clock::Timestamp;
use crate::ids::{DeviceKey, SocketId};
use crate::rollup::{BucketAt, Level};
use crate::sample::{DeviceSample, Sample};
use crate::site::LocalDay;

/// The earliest moment a sample can have been measured: 2020-01-01.
pub const EARLIEST: Timestamp = crate::decode::EARLIEST;
/// The first moment that is too late: 69 years on, in September 2089.
pub const LATEST: Timestamp = Timestamp::from_millis(EARLIEST.as_millis() + (1 << 41));

/// One series: a socket of a device, or its totals (socket 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId {
    /// Whose.
    pub device: DeviceKey,
    /// Which socket.
    pub socket: SocketId,
}

impl From<&DeviceSample> for SeriesId {
    fn from(it: &DeviceSample) -> Self {
        Self {
            device: it.device,
            socket: it.sample.socket,
        }
    }
}

/// What [`HistoryStore::append`] did with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Appended {
    /// Samples kept.
    pub new: usize,
    /// Samples that were there already.
    pub repeated: usize,
    /// Samples from before the raw floor ([`Floors::raw`]), or outside
    /// [`EARLIEST`] to [`LATEST`]: not kept.
    pub out_of_range: usize,
}

/// The energy of one series in one bucket; small, since a fleet has many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FleetEnergy {
    /// Which series.
    pub series: SeriesId,
    /// The bucket's first moment.
    pub start: Timestamp,
    /// What counts of its energy, Wh.
    pub energy_wh: f64,
}

/// How far back history reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// Raw samples from before it are gone and not accepted; `None` while
    /// nothing was ever dropped.
    pub raw: Option<Timestamp>,
    /// Minute rollups from before it are gone.
    pub minute: Option<Timestamp>,
}

/// From when on a device reports with a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodSince {
    /// The first moment it holds for.
    pub since: Timestamp,
    /// Milliseconds between reports; `None` where the device has no period.
    pub period_ms: Option<u64>,
}

/// Keeps history.
///
/// Rollups are true after every append, whatever order samples come in and
/// however often: the same as if all samples had come once and in order.
#[async_trait]
pub trait HistoryStore: Debug + Send + Sync + 'static {
    /// Keeps what is new among `samples` and, in the same transaction, how far
    /// the journal has been taken in. Durable (fsynced) when it returns. Of two
    /// samples of one series with one time the first counts.
    ///
    /// # Errors
    /// When nothing of it could be kept.
    async fn append(
        &self,
        samples: Vec<DeviceSample>,
        progress: Option<Progress>,
    ) -> Result<Appended, PortError>;

    /// The progress of the last append that had one, with the newest inbox of
    /// every device.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn progress(&self) -> Result<Option<Progress>, PortError>;

    /// The first `limit` raw samples of `range`, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn samples(
        &self,
        series: SeriesId,
        range: Range<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Sample>, PortError>;

    /// The buckets of `level` that start in `range`, oldest first; empty ones
    /// are left out.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn buckets(
        &self,
        series: SeriesId,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<BucketAt>, PortError>;

    /// The energy of every series in the buckets of `level` that start in
    /// `range`, in order of series, then time.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn fleet_energy(
        &self,
        level: Level,
        range: Range<Timestamp>,
    ) -> Result<Vec<FleetEnergy>, PortError>;

    /// How far back history reaches.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn floors(&self) -> Result<Floors, PortError>;

    /// Notes that devices report with a period from a moment on; one that is
    /// in force already is not noted again.
    ///
    /// # Errors
    /// When it could not be kept.
    async fn note_periods(&self, periods: Vec<(DeviceKey, PeriodSince)>) -> Result<(), PortError>;

    /// Every period ever noted for `device`, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn periods(&self, device: DeviceKey) -> Result<Vec<PeriodSince>, PortError>;
}

/// What retention may drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Raw samples.
    Raw,
    /// Minute rollups.
    Minute,
}

/// What history takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes in use on disk; space freed for reuse does not count.
    pub bytes: u64,
    /// How far back it reaches.
    pub floors: Floors,
    /// The earliest local day with a rollup.
    pub first_day: Option<LocalDay>,
}

/// What one step of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Rows dropped.
    pub rows: u64,
    /// Whether nothing is left to drop.
    pub done: bool,
}

/// What rebuilding one day's rollups found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Minutes that hold something.
    pub minutes: usize,
    /// Buckets, of every level, that were not what the samples say.
    pub corrected: usize,
}

/// Keeps history in bounds and in order.
#[async_trait]
pub trait HistoryUpkeep: Debug + Send + Sync + 'static {
    /// What history takes now.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn usage(&self) -> Result<Usage, PortError>;

    /// Every series that has a raw sample.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn series(&self) -> Result<Vec<SeriesId>, PortError>;

    /// How many rows of `tier` [`HistoryUpkeep::expire`] would drop.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn expirable(&self, tier: Tier, before: Timestamp) -> Result<u64, PortError>;

    /// Drops at most about `limit` rows of `tier` from before `before`, a start
    /// of a local day, which becomes the tier's floor: what is older is not
    /// seen any more. A store that can drop a whole day at once does so,
    /// however many rows it has, and may keep a day that is over only in part. The last samples of each
    /// series before it stay, so that what comes next is judged rightly.
    ///
    /// # Errors
    /// When the store does not answer; what earlier steps dropped stays dropped.
    async fn expire(&self, tier: Tier, before: Timestamp, limit: u64)
    -> Result<Expired, PortError>;

    /// Derives one local day's rollups of `series` from its raw samples again.
    /// Days that start before the raw floor are left as they are.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn rebuild(&self, series: SeriesId, day: LocalDay) -> Result<Rebuilt, PortError>;
}
