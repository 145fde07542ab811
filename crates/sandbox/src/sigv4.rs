//! Verifying AWS Signature Version 4: calls signed in their headers, and DbAuthTokens (presigned URLs without a scheme).
//!
//! Written from the published algorithm, not from the signer it is tested against.

use aws_lc_rs::{digest, hmac};
use jiff::{SignedDuration, Timestamp, civil, tz};
use subtle::ConstantTimeEq;

use crate::wire::Arrived;

mod canonical;
mod db_auth_token;

pub(crate) use db_auth_token::{DbAuthTokenFlaw, ExpectedLogin, verify_db_auth_token};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const STAMP: &str = "%Y%m%dT%H%M%SZ";
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Temporary credentials that were handed out.
#[derive(Clone)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) session_token: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) caller: Caller,
}

/// Whom credentials speak for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Caller {
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub(crate) arn: String,
    /// `AROA…:SESSION`, the value of `aws:userid`.
    pub(crate) user_id: String,
    pub(crate) role: String,
    pub(crate) session_name: String,
}

/// Who is looked up by access key id.
pub(crate) trait KeyTable {
    fn access_key(&self, id: &str) -> Option<AccessKey>;
}

/// Where a signature has to be meant for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// Why a signed call is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SignatureRefusal {
    #[error("{0}")]
    Incomplete(String),
    /// Wrong scope, wrong time or wrong signature: AWS answers all three with one code.
    #[error("{0}")]
    Invalid(String),
    #[error("Request is missing Authentication Token")]
    Missing,
    #[error("The security token included in the request is expired")]
    SessionExpired,
    #[error("The security token included in the request is invalid.")]
    UnknownKey,
}

/// Checks the `Authorization` header of a call and says who made it.
pub(crate) fn verify_call(
    call: &Arrived,
    scope: Scope<'_>,
    keys: &impl KeyTable,
    now: Timestamp,
) -> Result<Caller, SignatureRefusal> {
    let header = call.header("authorization").ok_or(SignatureRefusal::Missing)?;
    let claim = Claim::from_header(header)?;
    let key = keys.access_key(&claim.key_id).ok_or(SignatureRefusal::UnknownKey)?;
    if call.header("x-amz-security-token").unwrap_or_default() != key.session_token {
        return Err(SignatureRefusal::UnknownKey);
    }
    let stamp = call.header("x-amz-date").or_else(|| call.header("date")).unwrap_or_default();
    let signed_at = parse_stamp(stamp).ok_or_else(|| {
        SignatureRefusal::Incomplete("Date must be in ISO-8601 'basic format'. Got ''.".replace("''", stamp))
    })?;
    claim.check_scope(scope, stamp)?;
    check_age(signed_at, stamp, now)?;
    let canonical = canonical::call(call, &claim.signed_headers).map_err(SignatureRefusal::Incomplete)?;
    if !claim.matches(&canonical, stamp, &key.secret) {
        return Err(SignatureRefusal::Invalid(MISMATCH.into()));
    }
    if now >= key.expires_at {
        return Err(SignatureRefusal::SessionExpired);
    }
    Ok(key.caller)
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// The parts of a signature that travel with the request.
struct Claim {
    key_id: String,
    /// Date, Region, service, `aws4_request`.
    scope: [String; 4],
    /// Lower case, in the order they were signed in.
    signed_headers: Vec<String>,
    signature: String,
}

impl Claim {
    fn from_header(header: &str) -> Result<Self, SignatureRefusal> {
        let fields = header
            .strip_prefix(ALGORITHM)
            .ok_or_else(|| SignatureRefusal::Incomplete(format!("Unsupported AWS 'algorithm': '{header}'.")))?;
        let field = |name: &str| {
            fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| {
                SignatureRefusal::Incomplete(format!("Authorization header requires '{name}' parameter."))
            })
        };
        Self::new(field("Credential")?, field("SignedHeaders")?, field("Signature")?)
    }

    fn new(credential: &str, signed_headers: &str, signature: &str) -> Result<Self, SignatureRefusal> {
        let mut parts = credential.split('/').map(str::to_owned);
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let (Some(key_id), Some(date), Some(region), Some(service), Some(end)) =
            (part(), part(), part(), part(), part())
        else {
            let text = format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            );
            return Err(SignatureRefusal::Incomplete(text));
        };
        let signed_headers = signed_headers.split(';').map(str::to_owned).collect();
        Ok(Self { key_id, scope: [date, region, service, end], signed_headers, signature: signature.to_owned() })
    }

    fn check_scope(&self, expected: Scope<'_>, stamp: &str) -> Result<(), SignatureRefusal> {
        let [date, region, service, end] = &self.scope;
        let flaw = if region != expected.region {
            format!("Credential should be scoped to a valid region, not '{region}'. ")
        } else if service != expected.service {
            format!("Credential should be scoped to correct service: '{}'. ", expected.service)
        } else if end != "aws4_request" {
            format!("Credential should be scoped with a valid terminator: 'aws4_request', not '{end}'. ")
        } else if !stamp.starts_with(date.as_str()) {
            format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{date}' != \
                 '{stamp}'."
            )
        } else {
            return Ok(());
        };
        Err(SignatureRefusal::Invalid(flaw))
    }

    fn matches(&self, canonical: &str, stamp: &str, secret: &str) -> bool {
        let [date, region, service, end] = &self.scope;
        let hashed = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{stamp}\n{date}/{region}/{service}/{end}\n{hashed}");
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [date, region, service, end] {
            key = hmac_sha256(&key, part);
        }
        hex::encode(hmac_sha256(&key, &to_sign)).as_bytes().ct_eq(self.signature.as_bytes()).into()
    }
}

fn hmac_sha256(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn check_age(signed_at: Timestamp, stamp: &str, now: Timestamp) -> Result<(), SignatureRefusal> {
    let now_stamp = now.strftime(STAMP);
    let edge = |by: SignedDuration| now.saturating_add(by).unwrap_or(now);
    let (earliest, latest) = (edge(-TOLERATED_SKEW), edge(TOLERATED_SKEW));
    if signed_at < earliest {
        let earliest = earliest.strftime(STAMP);
        let text = format!("Signature expired: {stamp} is now earlier than {earliest} ({now_stamp} - 5 min.)");
        return Err(SignatureRefusal::Invalid(text));
    }
    if signed_at > latest {
        let latest = latest.strftime(STAMP);
        let text = format!("Signature not yet current: {stamp} is still later than {latest} ({now_stamp} + 5 min.)");
        return Err(SignatureRefusal::Invalid(text));
    }
    Ok(())
}

/// `20261122T094500Z` as an instant.
fn parse_stamp(stamp: &str) -> Option<Timestamp> {
    civil::DateTime::strptime(STAMP, stamp).ok()?.to_zoned(tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
