//! What is known of devices by the second.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use dormouse_core::ids::DeviceKey;
use dormouse_core::ports::DeviceView;
use dormouse_core::ports::hot::{HotState, Latest};
use dormouse_core::presence::Presence;
use dormouse_core::services::ingest::Refusals;
use dormouse_core::services::intake::Gate;
use dormouse_core::services::presence::PresenceTracker;
use dormouse_core::services::statistics::Statistics;

/// Presence and hot state, as lists and pages ask for them.
#[derive(Debug, Clone)]
pub struct LiveView {
    /// Who is there.
    pub presence: Arc<PresenceTracker>,
    /// What was measured last.
    pub hot: Arc<dyn HotState>,
    /// Knows what was used today.
    pub statistics: Arc<Statistics>,
    /// Knows what was refused, once it is there.
    pub gate: OnceLock<Arc<dyn Gate>>,
}

impl LiveView {
    /// Lets refusals be seen; the first stays.
    pub fn connect(&self, gate: Arc<dyn Gate>) {
        self.gate.set(gate).ok();
    }
}

#[async_trait]
impl DeviceView for LiveView {
    fn presence(&self, device: DeviceKey) -> Presence {
        self.presence.get(device)
    }

    async fn latest(&self, devices: &[DeviceKey]) -> Vec<Vec<Latest>> {
        // Where nobody can tell now, they are shown as not measured.
        let latest = self.hot.latest(devices).await;
        latest.unwrap_or_else(|_| vec![Vec::new(); devices.len()])
    }

    fn refusals(&self, device: DeviceKey) -> Option<Refusals> {
        self.gate.get()?.refusals(device)
    }

    async fn energy_today_wh(&self, devices: &[DeviceKey]) -> Vec<Option<f64>> {
        match self.statistics.today().await {
            Ok(today) => devices
                .iter()
                .map(|device| today.devices.get(device).copied())
                .collect(),
            Err(_) => vec![None; devices.len()],
        }
    }
}
