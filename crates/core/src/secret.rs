//! Secrets: made at random, shown once, kept as digests, never printed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;
use rand::distr::{Alphanumeric, SampleString as _};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

/// Characters of a device's password: 24 of 62 letters and digits, 142 bits.
pub const DEVICE_PASSWORD_LEN: usize = 24;
/// Characters of a device digest's salt.
pub const SALT_LEN: usize = 12;

/// A text that must not be seen: `Debug` hides it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A password for a device: letters and digits, at least 128 bits.
    #[must_use]
    pub fn device_password() -> Self {
        Self(Alphanumeric.sample_string(&mut rand::rng(), DEVICE_PASSWORD_LEN))
    }

    /// `prefix` followed by 256 random bits, for tokens, sessions and links.
    #[must_use]
    pub fn random(prefix: &str) -> Self {
        let bits: [u8; 32] = rand::rng().random();
        Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits)))
    }

    /// The text itself, for the one place that shows or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares without telling by its time where the two differ.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(candidate).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is kept of a device's password: SHA-512 over password and salt.
///
/// MQTT brokers check this form too. The password is random, so it needs no
/// slow hash, and ten thousand strips may come back at once after a power cut.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceDigest {
    salt: [u8; SALT_LEN],
    hash: [u8; 64],
}

impl DeviceDigest {
    /// Digests `password` under a new random salt of ASCII letters and digits.
    #[must_use]
    pub fn of(password: &Secret) -> Self {
        let mut salt = [0; SALT_LEN];
        salt.fill_with(|| rand::rng().sample(Alphanumeric));
        let hash = salted(password.expose().as_bytes(), &salt);
        Self { salt, hash }
    }

    /// Puts a stored digest together again.
    #[must_use]
    pub const fn from_parts(salt: [u8; SALT_LEN], hash: [u8; 64]) -> Self {
        Self { salt, hash }
    }

    /// The salt, ASCII.
    #[must_use]
    pub const fn salt(&self) -> &[u8; SALT_LEN] {
        &self.salt
    }

    /// The hash.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 64] {
        &self.hash
    }

    /// Whether `password` is the one digested; takes the same time either way.
    #[must_use]
    pub fn matches(&self, password: &[u8]) -> bool {
        salted(password, &self.salt).ct_eq(&self.hash).into()
    }
}

impl fmt::Debug for DeviceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceDigest(***)")
    }
}

fn salted(password: &[u8], salt: &[u8]) -> [u8; 64] {
    Sha512::new()
        .chain_update(password)
        .chain_update(salt)
        .finalize()
        .into()
}

/// What is kept of a session's or API token's secret: looked up by, so
/// unsalted; the secret has 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenDigest(pub [u8; 32]);

impl TokenDigest {
    /// Digests `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Compares without telling by its time where the two differ.
    #[must_use]
    pub fn matches(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "***");
        assert!(!format!("{:?}", DeviceDigest::of(&secret)).contains("hunter2"));
    }

    #[test]
    fn device_passwords_are_long_plain_and_different() {
        let one = Secret::device_password();
        assert_eq!(one.expose().len(), DEVICE_PASSWORD_LEN);
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(one, Secret::device_password());
    }

    #[test]
    fn a_digest_takes_its_password_and_no_other() {
        let password = Secret::device_password();
        let digest = DeviceDigest::of(&password);
        assert!(digest.matches(password.expose().as_bytes()));
        assert!(!digest.matches(b""));
        assert!(!digest.matches(&password.expose().as_bytes()[1..]));
        assert!(digest.salt().iter().all(u8::is_ascii_alphanumeric));
        assert_ne!(DeviceDigest::of(&password), digest, "salts differ");
    }

    #[test]
    fn the_digest_is_sha_512_of_password_then_salt() {
        let digest = DeviceDigest::from_parts(*b"saltsaltsalt", salted(b"pw", b"saltsaltsalt"));
        let plain: [u8; 64] = Sha512::digest(b"pwsaltsaltsalt").into();
        assert_eq!(digest.hash(), &plain);
    }

    #[test]
    fn tokens_are_looked_up_by_digest() {
        let token = Secret::random("dmt_");
        assert!(token.expose().starts_with("dmt_") && token.expose().len() == 47);
        assert!(TokenDigest::of(token.expose()).matches(token.expose()));
        assert!(!TokenDigest::of(token.expose()).matches("dmt_"));
    }
}
