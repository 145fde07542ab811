//! DbAuthTokens: `HOST:PORT/?Action=connect&DBUser=…&X-Amz-…`, a presigned GET of the service `rds-db` without its scheme.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;

use super::{ALGORITHM, Caller, Claim, KeyTable, Scope, TOLERATED_SKEW, canonical, parse_stamp};

const SIGNATURE: &str = "X-Amz-Signature";
const LONGEST_LIFE: i64 = 900;

/// The login a token has to be made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedLogin<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) region: &'a str,
    pub(crate) user: &'a str,
}

/// Why a DbAuthToken is not believed. RDS tells the database client neither.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DbAuthTokenFlaw {
    #[error("token age is longer than 15 minutes")]
    Expired,
    /// The text says what is wrong, for the sandbox's own log.
    #[error("token is malformed or otherwise invalid")]
    Invalid { why: String },
}

impl DbAuthTokenFlaw {
    /// What exactly is wrong, in words.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Expired => self.to_string(),
            Self::Invalid { why } => why.clone(),
        }
    }
}

/// Checks everything but the policy: form, host, user, Region, age, key and signature.
pub(crate) fn verify_db_auth_token(
    token: &str,
    login: ExpectedLogin<'_>,
    keys: &impl KeyTable,
    now: Timestamp,
) -> Result<Caller, DbAuthTokenFlaw> {
    let (host, query) = token.split_once("/?").ok_or_else(|| invalid("it is not HOST:PORT/?QUERY"))?;
    let fields = fields(query);
    let field = |name: &str| {
        fields.get(name).map(String::as_str).ok_or_else(|| invalid(format!("{name} is missing or not text")))
    };
    let expected_host = format!("{}:{}", login.host, login.port);
    must_be("host", host, &expected_host)?;
    must_be("Action", field("Action")?, "connect")?;
    must_be("DBUser", field("DBUser")?, login.user)?;
    must_be("X-Amz-Algorithm", field("X-Amz-Algorithm")?, ALGORITHM)?;
    must_be("X-Amz-SignedHeaders", field("X-Amz-SignedHeaders")?, "host")?;
    let stamp = field("X-Amz-Date")?;
    let claim = Claim::new(field("X-Amz-Credential")?, "host", field(SIGNATURE)?).map_err(invalid)?;
    claim.check_scope(Scope { region: login.region, service: "rds-db" }, stamp).map_err(invalid)?;
    check_life(stamp, field("X-Amz-Expires")?, now)?;

    let key = keys.access_key(&claim.key_id).ok_or_else(|| invalid("its access key is unknown"))?;
    must_be("X-Amz-Security-Token", field("X-Amz-Security-Token")?, &key.session_token)?;
    if !claim.matches(&canonical::presigned(host, query, SIGNATURE), stamp, &key.secret) {
        return Err(invalid("its signature does not match"));
    }
    if now >= key.expires_at {
        return Err(invalid("the credentials behind it have expired"));
    }
    Ok(key.caller)
}

fn check_life(stamp: &str, expires: &str, now: Timestamp) -> Result<(), DbAuthTokenFlaw> {
    let signed_at = parse_stamp(stamp).ok_or_else(|| invalid("X-Amz-Date is no instant"))?;
    let life: i64 = expires.parse().map_err(|_| invalid("X-Amz-Expires is no number"))?;
    if !(1..=LONGEST_LIFE).contains(&life) {
        return Err(invalid("X-Amz-Expires is not within 1 and 900 seconds"));
    }
    let age = now.duration_since(signed_at);
    if age < -TOLERATED_SKEW {
        return Err(invalid("X-Amz-Date is more than 5 minutes ahead"));
    }
    if age > SignedDuration::from_secs(life) { Err(DbAuthTokenFlaw::Expired) } else { Ok(()) }
}

fn fields(query: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    query
        .split('&')
        .filter_map(|field| field.split_once('='))
        .filter_map(|(k, v)| Some((decoded(k)?, decoded(v)?)))
        .collect()
}

/// Says which field differs and never what it holds: several are secret.
fn must_be(what: &str, given: &str, expected: &str) -> Result<(), DbAuthTokenFlaw> {
    if given == expected { Ok(()) } else { Err(invalid(format!("{what} is not the one of this login"))) }
}

fn invalid(why: impl ToString) -> DbAuthTokenFlaw {
    DbAuthTokenFlaw::Invalid { why: why.to_string() }
}
