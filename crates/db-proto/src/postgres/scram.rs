//! SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding, both roles, and the older MD5 proof.
//!
//! As PostgreSQL does, the user name inside SCRAM is ignored and a password that SASLprep does not take is used as it is.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The name in SASL's list of mechanisms.
pub(super) const MECHANISM: &str = "SCRAM-SHA-256";
/// Random bytes of one side's nonce, as many as libpq takes.
pub const NONCE_LENGTH: usize = 18;
/// What PostgreSQL itself uses; the least that RFC 7677 and some drivers allow.
const ITERATIONS: u32 = 4_096;
/// A server that asks for more would only keep this side busy.
const MOST_ITERATIONS: u32 = 1_000_000;
const KEY: usize = 32;

type Key = [u8; KEY];

/// What a server keeps of a password to check it with, without knowing it. `Debug` does not show it.
#[derive(Clone)]
pub struct ScramVerifier {
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl ScramVerifier {
    /// Of `password`, with a random `salt`. Takes some milliseconds.
    pub fn new(password: &[u8], salt: [u8; 16]) -> Self {
        let salted = salted_password(password, &salt, ITERATIONS);
        let stored_key = Sha256::digest(hmac(&salted, b"Client Key")).into();
        Self { salt: salt.to_vec(), stored_key, server_key: hmac(&salted, b"Server Key") }
    }
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(..)")
    }
}

/// A message of SCRAM that is none, or that breaks its rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SCRAM message {0}")]
pub struct ScramError(&'static str);

/// A server that has asked its question.
pub(super) struct ScramServer {
    verifier: ScramVerifier,
    header: String,
    nonce: String,
    first_bare: String,
    question: String,
}

/// How a client answered.
pub(super) enum Answer {
    /// It knows the password; with the server's own proof of that, to be sent.
    Right(Vec<u8>),
    /// It does not.
    Wrong,
}

impl ScramServer {
    /// Reads client-first-message.
    pub(super) fn ask(
        verifier: ScramVerifier,
        client_first: &[u8],
        nonce: [u8; NONCE_LENGTH],
    ) -> Result<Self, ScramError> {
        let text = text(client_first)?;
        let header = ["n,,", "y,,"].into_iter().find(|header| text.starts_with(header));
        let header = header.ok_or(ScramError("asks for channel binding or another identity"))?;
        let first_bare = text.strip_prefix(header).unwrap_or_default();
        let mut fields = first_bare.split(',');
        fields.next().and_then(|user| user.strip_prefix("n=")).ok_or(ScramError("without a user"))?;
        let theirs = fields.next().and_then(|nonce| nonce.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let nonce = format!("{}{}", theirs.ok_or(ScramError("without a nonce"))?, BASE64_STANDARD.encode(nonce));
        let question = format!("r={nonce},s={},i={ITERATIONS}", BASE64_STANDARD.encode(&verifier.salt));
        Ok(Self { header: header.to_owned(), first_bare: first_bare.to_owned(), nonce, question, verifier })
    }

    /// server-first-message.
    pub(super) fn question(&self) -> &[u8] {
        self.question.as_bytes()
    }

    /// Reads client-final-message.
    pub(super) fn judge(&self, client_final: &[u8]) -> Result<Answer, ScramError> {
        let (without_proof, proof) = text(client_final)?.rsplit_once(",p=").ok_or(ScramError("without a proof"))?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c="));
        if binding != Some(BASE64_STANDARD.encode(&self.header).as_str()) {
            return Err(ScramError("that changes its mind about channel binding"));
        }
        if fields.next().and_then(|field| field.strip_prefix("r=")) != Some(&self.nonce) {
            return Err(ScramError("with another nonce"));
        }
        let proof = decode_key(proof).ok_or(ScramError("whose proof is no 32 bytes"))?;
        let message = format!("{},{},{without_proof}", self.first_bare, self.question);
        let client_key = xor(proof, hmac(&self.verifier.stored_key, message.as_bytes()));
        if !bool::from(Sha256::digest(client_key).as_slice().ct_eq(&self.verifier.stored_key)) {
            return Ok(Answer::Wrong);
        }
        let signature = hmac(&self.verifier.server_key, message.as_bytes());
        Ok(Answer::Right(format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes()))
    }
}

/// A client that has opened.
pub(super) struct ScramClient {
    nonce: String,
}

impl ScramClient {
    pub(super) fn new(nonce: [u8; NONCE_LENGTH]) -> Self {
        Self { nonce: BASE64_STANDARD.encode(nonce) }
    }

    /// client-first-message.
    pub(super) fn opening(&self) -> Vec<u8> {
        format!("n,,{}", self.first_bare()).into_bytes()
    }

    /// Reads server-first-message.
    pub(super) fn challenge(&self, server_first: &[u8]) -> Result<Challenge, ScramError> {
        let question = text(server_first)?;
        let mut fields = question.split(',');
        let mut field = |name: &str| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = field("r=").ok_or(ScramError("without a nonce"))?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(ScramError("with another nonce"));
        }
        let salt = field("s=").and_then(|salt| BASE64_STANDARD.decode(salt).ok());
        let iterations = field("i=").and_then(|count| count.parse().ok());
        let iterations = iterations.filter(|count| (1..=MOST_ITERATIONS).contains(count));
        Ok(Challenge {
            message: format!("{},{question},c=biws,r={nonce}", self.first_bare()),
            without_proof: format!("c=biws,r={nonce}"),
            salt: salt.ok_or(ScramError("without a salt"))?,
            iterations: iterations.ok_or(ScramError("without a sensible count of iterations"))?,
        })
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }
}

/// A question that a password answers.
pub(super) struct Challenge {
    message: String,
    without_proof: String,
    salt: Vec<u8>,
    iterations: u32,
}

impl Challenge {
    /// client-final-message, and the proof the server then owes.
    pub(super) fn answer(&self, password: &[u8]) -> (Vec<u8>, ServerProof) {
        let salted = salted_password(password, &self.salt, self.iterations);
        let client_key = hmac(&salted, b"Client Key");
        let stored_key: Key = Sha256::digest(client_key).into();
        let proof = xor(client_key, hmac(&stored_key, self.message.as_bytes()));
        let signature = hmac(&hmac(&salted, b"Server Key"), self.message.as_bytes());
        let last = format!("{},p={}", self.without_proof, BASE64_STANDARD.encode(proof));
        (last.into_bytes(), ServerProof(signature))
    }
}

/// What only a server that knows the password can send.
pub(super) struct ServerProof(Key);

impl ServerProof {
    /// Reads server-final-message.
    pub(super) fn check(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let signature = text(server_final)?.strip_prefix("v=").and_then(decode_key);
        let signature = signature.ok_or(ScramError("without the server's proof"))?;
        let known: bool = signature.ct_eq(&self.0).into();
        known.then_some(()).ok_or(ScramError("that proves that the server does not know the password"))
    }
}

/// The answer to AuthenticationMD5Password: MD5(MD5(password, user), salt).
pub(super) fn md5_proof(user: &str, password: &[u8], salt: [u8; 4]) -> String {
    let inner = hex(&Md5::new().chain_update(password).chain_update(user).finalize());
    format!("md5{}", hex(&Md5::new().chain_update(inner).chain_update(salt).finalize()))
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    str::from_utf8(message).map_err(|_| ScramError("that is not UTF-8"))
}

fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    pbkdf2::pbkdf2_hmac_array::<Sha256, KEY>(&prepared(password), salt, iterations)
}

fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    let prepared = str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    match prepared {
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        Some(Cow::Borrowed(_)) | None => Cow::Borrowed(password),
    }
}

fn hmac(key: &Key, message: &[u8]) -> Key {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

fn xor(mut left: Key, right: Key) -> Key {
    left.iter_mut().zip(right).for_each(|(left, right)| *left ^= right);
    left
}

fn decode_key(text: &str) -> Option<Key> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3, whose nonces are its own.
    #[test]
    fn a_client_answers_as_the_rfc_shows() {
        let client = ScramClient { nonce: "rOprNGfwEbeRWgbNEkqO".to_owned() };
        let question = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let mut challenge = client.challenge(question.as_bytes()).expect("well formed");
        // RFC 7677 logs in as `user`; PostgreSQL's clients leave the name out.
        challenge.message = challenge.message.replace("n=,", "n=user,");
        let (last, proof) = challenge.answer(b"pencil");
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(last).expect("text"), expected);
        proof.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").expect("the server's proof in the RFC");
        proof.check(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").expect_err("another one");
    }

    #[test]
    fn both_roles_agree_on_right_and_wrong() {
        for (theirs, right) in [("caf\u{e9}", true), ("cafe\u{301}", true), ("cafe", false), ("", false)] {
            let verifier = ScramVerifier::new("caf\u{e9}".as_bytes(), [7; 16]);
            let client = ScramClient::new([1; NONCE_LENGTH]);
            let server = ScramServer::ask(verifier, &client.opening(), [2; NONCE_LENGTH]).expect("well formed");
            let (last, proof) = client.challenge(server.question()).expect("well formed").answer(theirs.as_bytes());
            match server.judge(&last).expect("well formed") {
                Answer::Right(owed) => {
                    assert!(right, "{theirs}");
                    proof.check(&owed).expect("both know it");
                }
                Answer::Wrong => assert!(!right, "{theirs}: normalised alike"),
            }
        }
    }

    #[test]
    fn messages_that_break_the_rules_are_refused() {
        let server = |first: &[u8]| ScramServer::ask(ScramVerifier::new(b"x", [0; 16]), first, [0; NONCE_LENGTH]);
        for first in [&b""[..], b"n,,", b"n,,n=", b"n,,n=,r=", b"p=tls-unique,,n=,r=a", b"n,a=eva,n=,r=a", b"n,,\xff"] {
            assert!(server(first).is_err(), "{}", first.escape_ascii());
        }
        let asked = server(b"n,,n=,r=a").expect("well formed");
        for last in [&b""[..], b"c=biws", b"c=eSws,r=a,p=AA==", b"c=biws,r=b,p=AA==", b"c=biws,p=,r=a"] {
            assert!(asked.judge(last).is_err(), "{}", last.escape_ascii());
        }
        let client = ScramClient::new([1; NONCE_LENGTH]);
        let nonce = client.nonce.clone();
        for rest in ["", "x,s=AAAA", "x,s=*,i=1", "x,s=AAAA,i=0", "x,s=AAAA,i=4294967295", ",s=AAAA,i=1"] {
            assert!(client.challenge(format!("r={nonce}{rest}").as_bytes()).is_err(), "{rest}");
        }
    }

    #[test]
    fn the_md5_proof_is_the_servers() {
        assert_eq!(md5_proof("md5_user", b"password", [0x2a, 0x3d, 0x8f, 0xe0]), "md562af4dd09bbb41884907a838a3233294");
    }
}
