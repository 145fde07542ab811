//! How a password is proven to whoever knows it.

use std::fmt;

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signature, VerifyingKey};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Ways to prove a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthPlugin {
    /// Default of MySQL 8 and later: a SHA-256 scramble, or the password inside TLS.
    CachingSha2,
    /// The password in clear. Given over TLS alone.
    ClearPassword,
    /// MariaDB's `client_ed25519`: a signature.
    Ed25519,
    /// Default of MariaDB and of MySQL before 8: a SHA-1 scramble.
    NativePassword,
    /// Of MySQL 5.6 to 8: the password inside TLS.
    Sha256Password,
}

impl AuthPlugin {
    /// By its name on the wire.
    pub fn named(name: &str) -> Option<Self> {
        [Self::CachingSha2, Self::ClearPassword, Self::Ed25519, Self::NativePassword, Self::Sha256Password]
            .into_iter()
            .find(|plugin| plugin.name() == name)
    }

    /// On the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            Self::ClearPassword => "mysql_clear_password",
            Self::Ed25519 => "client_ed25519",
            Self::NativePassword => "mysql_native_password",
            Self::Sha256Password => "sha256_password",
        }
    }

    /// Bytes of a proof, for those that answer a challenge.
    pub(super) fn proof_length(self) -> Option<usize> {
        match self {
            Self::CachingSha2 => Some(32),
            Self::Ed25519 => Some(64),
            Self::NativePassword => Some(20),
            Self::ClearPassword | Self::Sha256Password => None,
        }
    }

    /// The proof of `password` for `challenge`. In clear for those that do not answer a challenge: TLS is the caller's to
    /// check. An empty password is proven by nothing at all, except in clear.
    pub(super) fn prove(self, password: &[u8], challenge: &[u8]) -> Vec<u8> {
        match self {
            Self::ClearPassword | Self::Sha256Password => in_clear(password),
            _ if password.is_empty() && self != Self::Ed25519 => Vec::new(),
            Self::CachingSha2 => caching_sha2(password, challenge),
            Self::Ed25519 => ed25519(password, challenge),
            Self::NativePassword => native(password, challenge),
        }
    }
}

/// A password with its closing NUL.
pub(super) fn in_clear(password: &[u8]) -> Vec<u8> {
    let mut proof: Vec<u8> = password.iter().copied().take_while(|byte| *byte != 0).collect();
    proof.push(0);
    proof
}

/// What a server keeps to check proofs of one password by any plug-in. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Verifier {
    /// SHA-1 twice.
    native: [u8; 20],
    /// SHA-256 twice.
    caching_sha2: [u8; 32],
    /// SHA-512, from which the key comes; made into one only when it is asked for, since that takes long.
    ed25519: [u8; 64],
}

impl Verifier {
    /// Of a password.
    pub fn of(password: &[u8]) -> Self {
        Self {
            native: Sha1::digest(Sha1::digest(password)).into(),
            caching_sha2: sha256(&[&sha256(&[password])]),
            ed25519: sha512(password),
        }
    }

    /// Whether `proof` answers `challenge`. A password in clear is compared too.
    pub fn accepts(&self, plugin: AuthPlugin, challenge: &[u8], proof: &[u8]) -> bool {
        match plugin {
            AuthPlugin::CachingSha2 => self.accepts_caching_sha2(challenge, proof),
            AuthPlugin::ClearPassword | AuthPlugin::Sha256Password => {
                let password: Vec<u8> = proof.iter().copied().take_while(|byte| *byte != 0).collect();
                sha256(&[&sha256(&[&password])]).ct_eq(&self.caching_sha2).into()
            }
            AuthPlugin::Ed25519 => {
                let key = VerifyingKey::from(&ExpandedSecretKey::from_bytes(&self.ed25519));
                Signature::from_slice(proof).is_ok_and(|signature| key.verify_strict(challenge, &signature).is_ok())
            }
            AuthPlugin::NativePassword => self.accepts_native(challenge, proof),
        }
    }

    fn accepts_native(&self, challenge: &[u8], proof: &[u8]) -> bool {
        let Ok(proof) = <[u8; 20]>::try_from(proof) else { return false };
        let mask = Sha1::new().chain_update(challenge).chain_update(self.native).finalize();
        let hashed_once = xor(&proof, &mask);
        <[u8; 20]>::from(Sha1::digest(hashed_once)).ct_eq(&self.native).into()
    }

    fn accepts_caching_sha2(&self, challenge: &[u8], proof: &[u8]) -> bool {
        if proof.len() != 32 {
            return false;
        }
        let hashed_once = xor(proof, &sha256(&[&self.caching_sha2, challenge]));
        sha256(&[&hashed_once]).ct_eq(&self.caching_sha2).into()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(..)")
    }
}

fn native(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    xor(&once, &Sha1::new().chain_update(challenge).chain_update(twice).finalize())
}

fn caching_sha2(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let once = sha256(&[password]);
    xor(&once, &sha256(&[&sha256(&[&once]), challenge]))
}

fn ed25519(password: &[u8], challenge: &[u8]) -> Vec<u8> {
    let key = ExpandedSecretKey::from_bytes(&sha512(password));
    raw_sign::<ed25519_dalek::Sha512>(&key, challenge, &VerifyingKey::from(&key)).to_bytes().to_vec()
}

/// MariaDB hashes the password itself where Ed25519 hashes a seed of 32 bytes (`libmariadb`, `plugins/auth/ed25519.c`).
fn sha512(password: &[u8]) -> [u8; 64] {
    use ed25519_dalek::Digest;
    ed25519_dalek::Sha512::digest(password).into()
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    use sha2::Digest;
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}
