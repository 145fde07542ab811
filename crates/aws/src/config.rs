//! Which Region, at which address, by whose clock.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, Connector, ConnectorBuilder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use model::Region;
use url::Url;

use crate::{AwsError, ClockSkew, Credentials};

const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const ATTEMPT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Everything a call needs besides its arguments and Credentials. Clones share connections and the clock skew.
#[derive(Clone, Debug)]
pub struct AwsConfig {
    region: Region,
    endpoint: Option<Url>,
    skew: ClockSkew,
    http: SharedHttpClient,
}

impl AwsConfig {
    /// AWS in one Region; `endpoint` replaces the public addresses of all services.
    ///
    /// # Errors
    /// [`AwsError::PlainEndpoint`] for an endpoint that is neither https nor on loopback.
    pub fn new(region: Region, endpoint: Option<Url>, skew: ClockSkew) -> Result<Self, AwsError> {
        let loopback = endpoint.as_ref().is_some_and(is_loopback);
        match &endpoint {
            Some(url) if url.scheme() != "https" && !(url.scheme() == "http" && loopback) => {
                return Err(AwsError::PlainEndpoint { endpoint: url.to_string() });
            }
            Some(_) | None => {}
        }
        let http = Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = connector_builder(loopback);
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|c| c.sleep_impl()));
            finish(connector)
        });
        Ok(Self { region, endpoint, skew, http })
    }

    /// The same for another Region.
    #[must_use]
    pub fn in_region(&self, region: &Region) -> Self {
        Self { region: region.clone(), ..self.clone() }
    }

    /// The Region calls go to.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The clock all signatures are made by.
    #[must_use]
    pub fn skew(&self) -> &ClockSkew {
        &self.skew
    }

    /// Where `service` (`sts`, `ssm`, `rds`) is asked.
    pub(crate) fn endpoint_of(&self, service: &str) -> String {
        match &self.endpoint {
            Some(url) => url.to_string(),
            None => {
                let suffix = if self.region.as_str().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                format!("https://{service}.{}.{suffix}/", self.region)
            }
        }
    }

    pub(crate) fn connector(&self) -> Connector {
        finish(connector_builder(self.endpoint.as_ref().is_some_and(is_loopback)))
    }

    /// Built by hand: `aws_config::load_*` would read the environment and the profiles.
    pub(crate) fn sdk(&self, credentials: Option<&Credentials>) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .operation_timeout(CALL_LIMIT)
            .build();
        let mut builder = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(aws_config::Region::new(self.region.as_str().to_owned()))
            .http_client(self.http.clone())
            .time_source(self.skew.clone())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts)
            // Both would act on the time source, which jumps when a skew is found; `call` repeats a skewed call itself.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .disable_clock_skew_correction(true);
        builder.set_endpoint_url(self.endpoint.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned()));
        builder.set_credentials_provider(credentials.map(|c| SharedCredentialsProvider::new(c.to_sdk())));
        builder.build()
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(model::is_loopback_host)
}

/// HTTPS_PROXY and NO_PROXY hold for AWS's public addresses, never for loopback.
fn connector_builder(loopback: bool) -> ConnectorBuilder {
    Connector::builder().proxy_config(if loopback { ProxyConfig::disabled() } else { ProxyConfig::from_env() })
}

fn finish(connector: ConnectorBuilder) -> Connector {
    connector.tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoint(endpoint: &str) -> Result<AwsConfig, AwsError> {
        let region = Region::new("eu-west-1").expect("a Region");
        AwsConfig::new(region, Some(endpoint.parse().expect("a URL")), ClockSkew::default())
    }

    #[test]
    fn a_plain_endpoint_is_accepted_on_loopback_alone() {
        for endpoint in ["https://vpce.example.com", "http://127.0.0.1:4566", "http://[::1]:1", "http://localhost:4566"]
        {
            with_endpoint(endpoint).expect(endpoint);
        }
        for endpoint in
            ["http://sts.amazonaws.com", "http://127.0.0.1.evil.example", "http://0.0.0.0:1", "ftp://127.0.0.1"]
        {
            let refusal = with_endpoint(endpoint).expect_err(endpoint);
            assert!(matches!(refusal, AwsError::PlainEndpoint { .. }), "{endpoint}");
        }
    }

    #[test]
    fn public_addresses_follow_the_region() {
        let region = |name: &str| Region::new(name).expect("a Region");
        let config = AwsConfig::new(region("eu-west-1"), None, ClockSkew::default()).expect("no endpoint to refuse");
        assert_eq!(config.endpoint_of("sts"), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(
            config.in_region(&region("cn-north-1")).endpoint_of("ssm"),
            "https://ssm.cn-north-1.amazonaws.com.cn/"
        );
    }
}
