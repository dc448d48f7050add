//! How many connections there may be, in all and from one address, and how fast
//! new ones are taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;
use crate::reasons::Refusal;

/// Counts open connections.
#[derive(Debug)]
pub(crate) struct Admission {
    total: usize,
    per_ip: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// The place of one open connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            total: limits.connections,
            per_ip: limits.connections_per_ip,
            open: Mutex::default(),
        }
    }

    /// A place for one more connection.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Refusal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total {
            return Err(Refusal::TooManyConnections);
        }
        let from_here = open.by_ip.entry(ip).or_default();
        if *from_here >= self.per_ip {
            return Err(Refusal::TooManyFromAddress);
        }
        *from_here += 1;
        open.total += 1;
        Ok(Place {
            admission: self.clone(),
            ip,
        })
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self
            .admission
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

/// Paces new connections: a bucket of `burst` tokens that fills at `per_s`.
#[derive(Debug)]
pub(crate) struct Pace {
    per_s: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let burst = f64::from(limits.connect_burst);
        Self {
            per_s: f64::from(limits.connects_per_s),
            burst,
            tokens: burst,
            at: now,
        }
    }

    /// Takes a token; returns how long to wait before taking the next connection.
    pub(crate) fn take(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_s).min(self.burst) - 1.0;
        self.at = now;
        if self.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-self.tokens / self.per_s)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn places_are_bounded_per_address_and_in_all_and_come_back() {
        let limits = Limits {
            connections: 3,
            connections_per_ip: 2,
            ..Limits::default()
        };
        let admission = Arc::new(Admission::new(&limits));
        let ip = |last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
        let first = admission.enter(ip(1)).unwrap();
        let _second = admission.enter(ip(1)).unwrap();
        assert_eq!(
            admission.enter(ip(1)).unwrap_err(),
            Refusal::TooManyFromAddress
        );
        let _third = admission.enter(ip(2)).unwrap();
        assert_eq!(
            admission.enter(ip(3)).unwrap_err(),
            Refusal::TooManyConnections
        );
        drop(first);
        assert_eq!(admission.open(), 2);
        assert!(admission.enter(ip(1)).is_ok());
        assert_eq!(
            admission.open.lock().unwrap().by_ip.len(),
            2,
            "refused ones leave no trace"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_burst_connections_come_at_the_rate() {
        let start = Instant::now();
        let limits = Limits {
            connect_burst: 2,
            connects_per_s: 10,
            ..Limits::default()
        };
        let mut pace = Pace::new(&limits, start);
        assert_eq!(pace.take(start), Duration::ZERO);
        assert_eq!(pace.take(start), Duration::ZERO);
        assert_eq!(pace.take(start), Duration::from_millis(100));
        assert_eq!(
            pace.take(start + Duration::from_millis(100)),
            Duration::from_millis(100)
        );
        assert_eq!(pace.take(start + Duration::from_secs(10)), Duration::ZERO);
    }
}
