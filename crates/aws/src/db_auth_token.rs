//! The password of an IAM database login.
//!
//! The SDK's generator leaves the user name unencoded, so that `a+b` gets a token for somebody else and `a b` panics
//! (aws-sdk-rds 1.159). This one is right for every name.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign as sign_request,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use model::{Endpoint, Region, WallTime};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrets::Secret;

use crate::{AwsError, Credentials};

/// A presigned request to log in as one user at one database; sent as the password.
pub type DbAuthToken = Secret<String>;

/// How long RDS accepts a DbAuthToken. It never outlives the Credentials it was signed with.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// All but RFC 3986's unreserved characters, as SigV4 wants it.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Signs a login as `user` at `database`, the real endpoint in `region` (never the local listener or an alias), at the instant
/// `now` on AWS's clock. Pure: nothing is sent.
///
/// # Errors
/// [`AwsError::Rejected`] when the host cannot be part of a URL.
pub fn sign(
    credentials: &Credentials,
    region: &Region,
    database: &Endpoint,
    user: &str,
    now: WallTime,
) -> Result<DbAuthToken, AwsError> {
    let login = format!(
        "{}:{}/?Action=connect&DBUser={}",
        database.host.to_ascii_lowercase(),
        database.port,
        utf8_percent_encode(user, RESERVED)
    );
    let identity: Identity = credentials.to_sdk().into();
    let mut settings = SigningSettings::default();
    settings.expires_in = Some(TOKEN_LIFETIME);
    settings.signature_location = SignatureLocation::QueryParams;
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region.as_str())
        .name("rds-db")
        .time(system_time(now))
        .settings(settings)
        .build()
        .map_err(|e| unsignable(database, &e))?;
    let url = format!("https://{login}");
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::empty());
    let signed = sign_request(request.map_err(|e| unsignable(database, &e))?, &parameters.into());
    let (instructions, _) = signed.map_err(|e| unsignable(database, &e))?.into_parts();
    let mut token = login;
    for (name, value) in instructions.params() {
        token.push_str(&format!("&{name}={}", utf8_percent_encode(value, RESERVED)));
    }
    Ok(Secret::new(token))
}

fn system_time(at: WallTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + WallTime::from_unix_seconds(0).until(at)
}

fn unsignable(database: &Endpoint, cause: &(dyn std::error::Error + 'static)) -> AwsError {
    AwsError::Rejected {
        operation: "rds-db:connect",
        code: "InvalidEndpoint".into(),
        message: format!("{database} cannot be signed for: {}", crate::error::chain(cause)),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::SdkConfig;
    use aws_credential_types::provider::SharedCredentialsProvider;
    use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
    use aws_smithy_async::time::StaticTimeSource;

    use super::*;

    const HOST: &str = "orders-prod.c9daypass0.eu-west-1.rds.amazonaws.com";
    const NOW: i64 = 1_795_341_600;

    fn credentials(session_token: Option<&str>) -> Credentials {
        Credentials {
            access_key_id: "ASIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            session_token: session_token.map(Into::into),
            expires_at: WallTime::from_unix_seconds(NOW + 3_600),
        }
    }

    fn ours(user: &str, host: &str, session_token: Option<&str>) -> String {
        let region = Region::new("eu-west-1").expect("a Region");
        let database = Endpoint { host: host.into(), port: 5432 };
        let token = sign(&credentials(session_token), &region, &database, user, WallTime::from_unix_seconds(NOW));
        token.expect("the host is valid").expose().clone()
    }

    async fn theirs(encoded_user: &str, session_token: Option<&str>) -> String {
        let config = SdkConfig::builder()
            .region(aws_config::Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials(session_token).to_sdk()))
            .time_source(StaticTimeSource::from_secs(NOW.unsigned_abs()))
            .build();
        let login = Config::builder().hostname(HOST).port(5432).username(encoded_user).build().expect("all is given");
        AuthTokenGenerator::new(login).auth_token(&config).await.expect("it can sign").to_string()
    }

    #[tokio::test]
    async fn a_token_equals_the_sdks_for_every_name_the_sdk_gets_right() {
        for (user, encoded) in [
            ("app_ro", "app_ro"),
            ("jane@example.com", "jane%40example.com"),
            ("a+b", "a%2Bb"),
            ("a&b", "a%26b"),
            ("a b", "a%20b"),
            ("a#b=c%d", "a%23b%3Dc%25d"),
            ("zoë", "zo%C3%AB"),
        ] {
            for session_token in [None, Some("IQoJb3JpZ2luX2VjE+/=token")] {
                assert_eq!(ours(user, HOST, session_token), theirs(encoded, session_token).await, "{user}");
            }
        }
    }

    #[test]
    fn the_host_is_signed_in_lower_case() {
        assert_eq!(ours("app_ro", &HOST.to_ascii_uppercase(), None), ours("app_ro", HOST, None));
    }

    #[test]
    fn a_token_names_its_login_and_holds_for_15_minutes() {
        let token = ours("app_ro", HOST, None);
        assert!(token.starts_with(&format!("{HOST}:5432/?Action=connect&DBUser=app_ro&")), "{token}");
        assert!(token.contains("X-Amz-Expires=900") && token.contains("X-Amz-Date=20261122T100000Z"), "{token}");
        assert!(!token.ends_with('\n'), "a newline would be part of the password");
    }

    #[test]
    fn a_host_that_is_no_host_is_refused_by_name() {
        let region = Region::new("eu-west-1").expect("a Region");
        let database = Endpoint { host: "orders prod".into(), port: 5432 };
        let refusal = sign(&credentials(None), &region, &database, "app_ro", WallTime::from_unix_seconds(NOW));
        assert!(refusal.expect_err("a blank is no part of a host").to_string().contains("orders prod:5432"));
    }
}
