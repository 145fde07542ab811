//! The issuer's signing key: JSON Web Tokens with ES256, and the key set that verifies them.

use aws_lc_rs::{agreement, digest, rand, signature};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::seed::Seed;

/// One P-256 key.
pub(super) struct SigningKey {
    pair: signature::EcdsaKeyPair,
    /// The point, uncompressed: 0x04, x, y.
    public: Vec<u8>,
    id: String,
}

/// A key that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the identity provider's key cannot be made from this seed; take another seed")]
pub struct KeyFlaw;

/// What an IdToken says.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct IdTokenClaims {
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    /// Seconds since 1970, as all three.
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<String>,
    #[serde(flatten)]
    pub(crate) person: Map<String, Value>,
}

/// Why an IdToken cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum IdTokenFlaw {
    #[error("not three parts of base64url and JSON")]
    Malformed,
    #[error("signed by a key that is not in the issuer's key set")]
    NotSignedByIssuer,
    #[error("issued by {0}")]
    UnknownIssuer(String),
}

impl SigningKey {
    pub(super) fn from_seed(seed: &Seed) -> Result<Self, KeyFlaw> {
        // Nearly every text of 32 bytes is a private key of the curve; a second one is never needed in practice.
        let private: [u8; 32] = seed.bytes();
        let public = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, &private)
            .and_then(|key| Ok(key.compute_public_key()?.as_ref().to_vec()))
            .map_err(|_| KeyFlaw)?;
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = signature::EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public)
            .map_err(|_| KeyFlaw)?;
        let id = hex::encode(&digest::digest(&digest::SHA256, &public).as_ref()[..8]);
        Ok(Self { pair, public, id })
    }

    pub(super) fn jwks(&self) -> Value {
        let (x, y) = self.public[1..].split_at(32);
        json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }] })
    }

    pub(super) fn sign(&self, claims: &IdTokenClaims) -> String {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": self.id }).to_string();
        let claims = serde_json::to_string(claims).expect("claims are strings and numbers");
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature =
            self.pair.sign(&rand::SystemRandom::new(), signed.as_bytes()).expect("the machine has randomness");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The issuer is told apart before the signature is checked, since it says whose keys to check with.
    pub(super) fn read(&self, token: &str, issuer: &str) -> Result<IdTokenClaims, IdTokenFlaw> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(given), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(IdTokenFlaw::Malformed);
        };
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenFlaw::Malformed);
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| IdTokenFlaw::Malformed)?;
        let claims: Value = serde_json::from_slice(&decoded(claims)?).map_err(|_| IdTokenFlaw::Malformed)?;
        let said = claims["iss"].as_str().ok_or(IdTokenFlaw::Malformed)?;
        if said != issuer {
            return Err(IdTokenFlaw::UnknownIssuer(said.to_owned()));
        }
        let signed = token.rsplit_once('.').map_or("", |(signed, _)| signed);
        let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &self.public);
        let is_ours = header.alg == "ES256" && header.kid.as_deref() == Some(&self.id);
        if !is_ours || key.verify(signed.as_bytes(), &decoded(given)?).is_err() {
            return Err(IdTokenFlaw::NotSignedByIssuer);
        }
        serde_json::from_value(claims).map_err(|_| IdTokenFlaw::Malformed)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}
