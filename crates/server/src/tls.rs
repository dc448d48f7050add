//! The one cryptography that TLS uses here.

/// Makes ring the process's provider. Calling it again changes nothing.
pub fn use_ring() {
    // Already chosen: by an earlier call.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}
