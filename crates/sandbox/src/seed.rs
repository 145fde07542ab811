//! Everything a sandbox invents (keys, ids, tokens, codes) comes from here, so that one seed gives one sandbox.

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// What a sequence is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// Executions and their steps.
    Executions,
    /// Roles and credentials.
    Keys,
    /// Ids of single requests.
    Requests,
    /// Names, versions and passwords of secrets.
    Secrets,
    /// Sessions through machines.
    Sessions,
    /// Codes and tokens of the identity provider.
    SignIn,
}

/// A deterministic source of names and secrets.
pub(crate) struct Seed(Mutex<ChaCha20Rng>);

impl Seed {
    /// Each use has a sequence of its own: how often somebody polls must not change which keys are made.
    pub(crate) fn new(seed: u64, use_: Use) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(use_ as u64);
        Self(Mutex::new(rng))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A version 4 UUID, as execution, step and request ids are.
    pub(crate) fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.bytes()).into_uuid().to_string()
    }

    /// `prefix` and `count` capitals or digits, as AWS names keys (`ASIA…`), roles (`AROA…`) and resources (`db-…`).
    pub(crate) fn capitals(&self, prefix: &str, count: usize) -> String {
        self.pick(prefix, count, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    }

    /// `prefix` and `count` lower-case letters or digits.
    pub(crate) fn lower_case(&self, prefix: &str, count: usize) -> String {
        self.pick(prefix, count, b"abcdefghijklmnopqrstuvwxyz234567")
    }

    /// A secret of `N` random bytes that may stand in a URL.
    pub(crate) fn url_safe<const N: usize>(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes::<N>())
    }

    /// A secret of `N` random bytes with the characters (`/`, `+`, `=`) that careless encoders break.
    pub(crate) fn base64<const N: usize>(&self) -> String {
        STANDARD.encode(self.bytes::<N>())
    }

    fn pick(&self, prefix: &str, count: usize, alphabet: &[u8; 32]) -> String {
        let mut rng = self.rng();
        let picked = (0..count).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())]));
        prefix.chars().chain(picked).collect()
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, ChaCha20Rng> {
        self.0.lock().expect("nothing panics while it holds the generator")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (left, right) = (Seed::new(7, Use::Keys), Seed::new(7, Use::Keys));
        let (other, other_use) = (Seed::new(8, Use::Keys), Seed::new(7, Use::Sessions));
        assert_eq!(left.capitals("ASIA", 16), right.capitals("ASIA", 16));
        assert_eq!(left.uuid(), right.uuid());
        let secret = left.base64::<30>();
        assert_ne!(secret, other.base64::<30>());
        assert_ne!(secret, other_use.base64::<30>());
    }
}
