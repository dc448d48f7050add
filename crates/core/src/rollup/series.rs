//! One series (a socket of a device) taking in samples in any order.

use std::cmp::Ordering;

use crate::clock::Timestamp;
use crate::sample::Sample;

use super::bucket::Minutes;
use super::context::Context;

/// Samples read ahead while late ones are woven in.
const READ_AHEAD: usize = 128;

/// The samples of one series that are kept already.
pub trait SeriesRows {
    /// Why reading failed.
    type Error;

    /// The newest sample's time.
    ///
    /// # Errors
    /// When reading fails.
    fn newest(&mut self) -> Result<Option<Timestamp>, Self::Error>;

    /// The context after every sample before `ts`; see [`Context::recall`].
    ///
    /// # Errors
    /// When reading fails.
    fn before(&mut self, ts: Timestamp) -> Result<Context, Self::Error>;

    /// The first `limit` samples at or after `ts`, oldest first.
    ///
    /// # Errors
    /// When reading fails.
    fn from(&mut self, ts: Timestamp, limit: usize) -> Result<Vec<Sample>, Self::Error>;
}

/// The end of a series: all that in-order samples need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Series {
    newest: Option<Timestamp>,
    context: Context,
}

/// What [`Series::absorb`] took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absorbed {
    /// The samples that are new, in order of time.
    pub new: Vec<Sample>,
    /// How many were there already, or twice in the batch.
    pub repeated: usize,
}

impl Series {
    /// The end of the series whose samples are `rows`.
    ///
    /// # Errors
    /// When reading fails.
    pub fn load<R: SeriesRows>(rows: &mut R) -> Result<Self, R::Error> {
        let newest = rows.newest()?;
        let context = match newest {
            Some(_) => rows.before(Timestamp::from_millis(i64::MAX))?,
            None => Context::default(),
        };
        Ok(Self { newest, context })
    }

    /// The newest sample's time.
    #[must_use]
    pub const fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    pub(super) const fn parts(&self) -> (Option<Timestamp>, Context) {
        (self.newest, self.context)
    }

    pub(super) const fn from_parts(newest: Option<Timestamp>, context: Context) -> Self {
        Self { newest, context }
    }

    /// Takes `samples`, in order of time, beside `rows`, which must not hold
    /// them yet; adds to `out` what the rollups change by. Of two samples with
    /// one time the first counts.
    ///
    /// # Errors
    /// When reading fails; `self` and `out` are then of no use.
    pub fn absorb<R: SeriesRows>(
        &mut self,
        samples: &[Sample],
        rows: &mut R,
        out: &mut Minutes,
    ) -> Result<Absorbed, R::Error> {
        let mut absorbed = Absorbed::default();
        let late = match self.newest {
            Some(newest) => samples.partition_point(|it| it.ts <= newest),
            None => 0,
        };
        let (late, fresh) = samples.split_at(late);
        if !late.is_empty() {
            self.weave(late, rows, out, &mut absorbed)?;
        }
        absorbed.new.reserve(fresh.len());
        for sample in fresh {
            if self.newest.is_some_and(|newest| sample.ts <= newest) {
                absorbed.repeated += 1;
                continue;
            }
            self.context.step(sample, 1, out);
            out.sampled(sample);
            self.newest = Some(sample.ts);
            absorbed.new.push(*sample);
        }
        Ok(absorbed)
    }

    /// Works late samples in. Two contexts walk the series side by side, one
    /// without the late samples, whose pairs are taken back, and one with them,
    /// whose pairs are added; where the two agree again nothing more changes.
    fn weave<R: SeriesRows>(
        &mut self,
        late: &[Sample],
        rows: &mut R,
        out: &mut Minutes,
        absorbed: &mut Absorbed,
    ) -> Result<(), R::Error> {
        let mut late = late.iter().peekable();
        while let Some(first) = late.peek() {
            let mut ahead = Ahead::new(first.ts);
            let mut without = rows.before(first.ts)?;
            let mut with = without;
            loop {
                let kept = ahead.peek(rows)?;
                match order(late.peek().copied(), kept.as_ref()) {
                    Next::Late(sample) => {
                        with.step(sample, 1, out);
                        out.sampled(sample);
                        absorbed.new.push(*sample);
                        late.next();
                        while late.next_if(|it| it.ts == sample.ts).is_some() {
                            absorbed.repeated += 1;
                        }
                    }
                    Next::Repeated => {
                        absorbed.repeated += 1;
                        late.next();
                    }
                    Next::Kept(sample) if without == with => {
                        let soon = late.peek().is_some_and(|it| ahead.reaches(it.ts));
                        if !soon {
                            break;
                        }
                        without.pass(sample);
                        with = without;
                        ahead.advance();
                    }
                    Next::Kept(sample) => {
                        without.step(sample, -1, out);
                        with.step(sample, 1, out);
                        ahead.advance();
                    }
                    Next::End => {
                        self.context = with;
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

enum Next<'a> {
    Late(&'a Sample),
    Repeated,
    Kept(&'a Sample),
    End,
}

fn order<'a>(late: Option<&'a Sample>, kept: Option<&'a Sample>) -> Next<'a> {
    match (late, kept) {
        (None, None) => Next::End,
        (Some(late), None) => Next::Late(late),
        (None, Some(kept)) => Next::Kept(kept),
        (Some(late), Some(kept)) => match late.ts.cmp(&kept.ts) {
            Ordering::Less => Next::Late(late),
            Ordering::Equal => Next::Repeated,
            Ordering::Greater => Next::Kept(kept),
        },
    }
}

/// Kept samples, read in runs.
struct Ahead {
    from: Timestamp,
    run: Vec<Sample>,
    next: usize,
    ended: bool,
}

impl Ahead {
    fn new(from: Timestamp) -> Self {
        Self {
            from,
            run: Vec::new(),
            next: 0,
            ended: false,
        }
    }

    fn peek<R: SeriesRows>(&mut self, rows: &mut R) -> Result<Option<Sample>, R::Error> {
        if self.next == self.run.len() && !self.ended {
            self.run = rows.from(self.from, READ_AHEAD)?;
            self.next = 0;
            self.ended = self.run.len() < READ_AHEAD;
            if let Some(last) = self.run.last() {
                self.from = Timestamp::from_millis(last.ts.as_millis() + 1);
            }
        }
        Ok(self.run.get(self.next).copied())
    }

    fn advance(&mut self) {
        self.next += 1;
    }

    /// Whether the run in hand goes as far as `ts`, or the series ends in it.
    fn reaches(&self, ts: Timestamp) -> bool {
        self.ended || self.run.last().is_some_and(|last| ts <= last.ts)
    }
}
