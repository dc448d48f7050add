//! Other nodes hear of devices that changed or reported here.

use std::sync::{Arc, OnceLock};

use dormouse_core::device::Device;
use dormouse_core::event::Origin;
use dormouse_core::ports::{DeviceChange, DeviceWatcher};
use dormouse_core::services::nodes::Nodes;

/// Tells other nodes of devices; made before the node that tells.
#[derive(Debug, Default)]
pub struct DeviceHints {
    nodes: OnceLock<Arc<Nodes>>,
}

impl DeviceHints {
    /// Connects the node that tells; the first stays.
    pub fn connect(&self, nodes: Arc<Nodes>) {
        self.nodes.set(nodes).ok();
    }
}

impl DeviceWatcher for DeviceHints {
    fn changed(&self, _device: &Device, _change: DeviceChange, by: &Origin) {
        // What the server itself changed it mostly took over from others.
        if let (Some(nodes), false) = (self.nodes.get(), *by == Origin::Server) {
            nodes.tell_devices();
        }
    }

    fn reported(&self, device: &Device) {
        if let Some(nodes) = self.nodes.get() {
            nodes.reported(device);
        }
    }
}
