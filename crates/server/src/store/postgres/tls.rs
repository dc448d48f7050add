//! TLS to the server, as `sslmode` and its companions ask.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::OpenError;
use super::url::{Address, TlsMode};

/// What connections speak TLS with; `None` where they never do.
///
/// # Errors
/// When a file named in the URL cannot be used.
pub(super) fn client_config(address: &Address) -> Result<Option<ClientConfig>, OpenError> {
    if address.tls == TlsMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Url(format!("TLS is not available: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier(address, provider)?));
    Ok(Some(match &address.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates("sslcert in database.url", certificate)?;
            let der = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unusable("sslkey in database.url", key, &error))?;
            builder
                .with_client_auth_cert(chain, der)
                .map_err(|error| unusable("sslkey in database.url", key, &error))?
        }
    }))
}

fn verifier(address: &Address, provider: Arc<CryptoProvider>) -> Result<Verifier, OpenError> {
    let trust = match (address.tls, &address.authorities) {
        (TlsMode::Disable | TlsMode::Allow | TlsMode::Prefer, _) | (TlsMode::Require, None) => {
            Trust::Anybody
        }
        (TlsMode::Require | TlsMode::VerifyCa, _) => Trust::AnyHost(web_pki(address, &provider)?),
        (TlsMode::VerifyFull, _) => Trust::ThisHost(web_pki(address, &provider)?),
    };
    Ok(Verifier { trust, provider })
}

fn web_pki(
    address: &Address,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, OpenError> {
    const SETTING: &str = "sslrootcert in database.url";
    let mut roots = RootCertStore::empty();
    let found = match &address.authorities {
        Some(path) => certificates(SETTING, path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(found);
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| match &address.authorities {
            Some(path) => unusable(SETTING, path, &error),
            None => OpenError::Url(format!(
                "the system's certificate authorities cannot be used ({error}); name a file with sslrootcert"
            )),
        })
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(setting, path, &error))?
        .collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(setting, path, &"no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(setting, path, &error)),
    }
}

fn unusable(setting: &'static str, path: &Path, why: &dyn std::fmt::Display) -> OpenError {
    OpenError::File {
        setting,
        path: path.display().to_string(),
        why: why.to_string(),
    }
}

/// Whose certificate will do.
#[derive(Debug)]
enum Trust {
    /// Anybody's: against listeners only.
    Anybody,
    /// Anybody's whom a trusted authority vouches for.
    AnyHost(Arc<WebPkiServerVerifier>),
    /// That of the very host.
    ThisHost(Arc<WebPkiServerVerifier>),
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let check = |by: &WebPkiServerVerifier| {
            by.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
        };
        match &self.trust {
            Trust::Anybody => Ok(ServerCertVerified::assertion()),
            Trust::ThisHost(by) => check(by),
            Trust::AnyHost(by) => match check(by) {
                // The name is looked at last: the rest was right.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                other => other,
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
