//! From a client that may enter to a login at the Target.

use std::{io, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use model::Engine;
use rustls::{CertificateError, ClientConfig, NamedGroup, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant, sleep, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    FrontConfig, FrontLimits,
    event::{Reason, TurnedAway},
    logins::{Credential, Logins},
};
use crate::{dial::DialError, route::Demand, route::Route, sessions::SessionError, tunnel::TunnelError};

/// Logins with one credential or its successors, when the grant is not fresh.
const MOST_TRIES: u32 = 3;

/// The way to the Target.
pub trait Upstream: Send + Sync + 'static {
    /// A new connection to the Target. It may wait until a tunnel has healed; the Front gives up by itself.
    fn connect(&self, demand: Demand) -> BoxFuture<'_, Result<UpstreamStream, TunnelError>>;

    /// Whether fewer bytes arrive sooner even if they cost time to compress.
    fn is_slow(&self) -> bool {
        false
    }
}

/// Bytes to and from the Target.
pub type UpstreamStream = Box<dyn Duplex>;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

impl Upstream for Route {
    fn connect(&self, demand: Demand) -> BoxFuture<'_, Result<UpstreamStream, TunnelError>> {
        async move { Ok(Box::new(Self::connect(self, demand).await?) as UpstreamStream) }.boxed()
    }

    /// A Session Manager session carries less than 1 MB/s.
    fn is_slow(&self) -> bool {
        matches!(self, Self::Pool(_))
    }
}

/// One try to log in failed.
#[derive(Debug)]
pub(crate) enum TryFailed {
    /// The database did not take the credential; another may do.
    Credential(TurnedAway),
    /// Another credential changes nothing.
    Other(TurnedAway),
}

/// Logs in at the Target, however often it takes within the limits. `attempt` is one login, in the engine's protocol.
pub(crate) struct Reach<'a> {
    pub(crate) config: &'a FrontConfig,
    pub(crate) upstream: &'a dyn Upstream,
    pub(crate) logins: &'a dyn Logins,
    pub(crate) demand: Demand,
}

impl<'a> Reach<'a> {
    pub(crate) async fn log_in<T>(
        &self,
        attempt: impl Fn(UpstreamStream, Credential) -> BoxFuture<'a, Result<T, TryFailed>>,
    ) -> Result<T, TurnedAway> {
        let mut tries = Tries::new(&self.config.limits, self.logins.fresh_until());
        loop {
            let credential = self.credential(&tries).await?;
            let stream = self.stream(&tries).await?;
            let outcome = timeout_at(tries.until, attempt(stream, credential.clone())).await;
            match outcome.unwrap_or_else(|_| Err(TryFailed::Other(self.late("the database to finish the login")))) {
                Ok(done) => return Ok(done),
                Err(TryFailed::Other(why)) => return Err(why),
                Err(TryFailed::Credential(why)) => {
                    self.logins.refused(&credential);
                    tries.again(credential, why).await?;
                }
            }
        }
    }

    async fn credential(&self, tries: &Tries) -> Result<Credential, TurnedAway> {
        let credential = timeout_at(tries.until, self.logins.credential()).await;
        credential.map_err(|_| self.late("somebody to sign in again"))?.map_err(|why| TurnedAway {
            detail: None,
            hint: Some(why.hint),
            message: why.cause,
            reason: Reason::Credential,
            sqlstate: "57P03".to_owned(),
        })
    }

    async fn stream(&self, tries: &Tries) -> Result<UpstreamStream, TurnedAway> {
        loop {
            let connected = timeout_at(tries.until, self.upstream.connect(self.demand)).await;
            match connected.map_err(|_| self.late("the tunnel to heal"))? {
                Ok(stream) => return Ok(stream),
                Err(error) if passes(&error) && tries.has_time_for(self.config.limits.between_tries) => {
                    sleep(self.config.limits.between_tries).await;
                }
                Err(error) => return Err(self.unreached(&error)),
            }
        }
    }

    fn late(&self, waited_for: &str) -> TurnedAway {
        let seconds = self.config.limits.waiting.as_secs();
        let message = format!("Daypass waited {seconds} s for {waited_for}, in vain");
        let hint = format!("see `daypass status` for what {} waits for, then connect again", self.config.target);
        TurnedAway::new(Reason::Late, "57P03", message, hint)
    }

    fn unreached(&self, error: &TunnelError) -> TurnedAway {
        let message = format!("{} cannot be reached: {error}", self.config.target);
        let hint = format!("run `daypass doctor {}` to see which step fails", self.config.target);
        TurnedAway::new(Reason::Route, "08001", message, hint)
    }
}

/// How often, and until when.
struct Tries {
    until: Instant,
    fresh_until: Option<Instant>,
    between: Duration,
    refused: Option<Credential>,
    count: u32,
}

impl Tries {
    fn new(limits: &FrontLimits, fresh_until: Option<Instant>) -> Self {
        let now = Instant::now();
        let fresh_until = fresh_until.map(|until| until.min(now + limits.fresh_grant));
        let until = fresh_until.map_or(now + limits.waiting, |fresh| fresh.max(now + limits.waiting));
        Self { until, fresh_until, between: limits.between_tries, refused: None, count: 1 }
    }

    fn has_time_for(&self, pause: Duration) -> bool {
        Instant::now() + pause < self.until
    }

    /// Returns when it is time to try again; `why` when it is not worth it.
    async fn again(&mut self, credential: Credential, why: TurnedAway) -> Result<(), TurnedAway> {
        let next = Instant::now() + self.between;
        let fresh = self.fresh_until.is_some_and(|until| next < until);
        let more = self.count < most_tries(&credential) && next < self.until;
        if !fresh && !more {
            return Err(why);
        }
        self.count += 1;
        // A password that was read anew and is another one is worth a try at once.
        let first = self.refused.replace(credential).is_none();
        if !first || fresh {
            sleep(self.between).await;
        }
        Ok(())
    }
}

fn most_tries(credential: &Credential) -> u32 {
    match credential {
        Credential::Secret { .. } => MOST_TRIES,
        Credential::Token { .. } => 2,
    }
}

/// Whether waiting may help.
fn passes(error: &TunnelError) -> bool {
    match error {
        TunnelError::Dial(error) => !matches!(**error, DialError::Plain { .. } | DialError::Url { .. }),
        TunnelError::Start(SessionError::Unreachable { .. }) | TunnelError::Direct(_) => true,
        TunnelError::Ended(cause) => !matches!(cause, crate::tunnel::EndCause::Refused(_)),
        TunnelError::Closed | TunnelError::Start(SessionError::Gone | SessionError::Refused { .. }) => false,
    }
}

/// TLS with the Target, verified in full.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamTls {
    server_name: String,
    config: Arc<ClientConfig>,
}

impl UpstreamTls {
    pub(crate) fn new(config: &FrontConfig) -> Result<Self, rustls::Error> {
        Ok(Self { server_name: config.server_name.clone(), config: Arc::new(tls_config(config)?) })
    }

    /// The Target's endpoint.
    pub(crate) fn server_name(&self) -> &str {
        &self.server_name
    }

    pub(crate) async fn encrypt<T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: T,
    ) -> Result<TlsStream<T>, TurnedAway> {
        let name = ServerName::try_from(self.server_name.clone()).map_err(|cause| self.failed(&cause.to_string()))?;
        let connecting = TlsConnector::from(Arc::clone(&self.config)).connect(name, stream);
        connecting.await.map_err(|error| self.untrusted(&error))
    }

    fn untrusted(&self, error: &io::Error) -> TurnedAway {
        let host = &self.server_name;
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => TurnedAway::new(
                Reason::TlsName,
                "08001",
                format!("the server's certificate is not for {host}; nothing was sent to it"),
                "write the endpoint RDS shows as `host` in the catalog, not an alias; or the tunnel ends at another database".to_owned(),
            ),
            Some(rustls::Error::InvalidCertificate(cause)) => TurnedAway::new(
                Reason::TlsChain,
                "08001",
                format!("the certificate of {host} cannot be trusted: {cause}"),
                "update the certificates of RDS (`ca-bundle` in the catalog), or check that this is the database"
                    .to_owned(),
            ),
            Some(_) | None => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, cause: &str) -> TurnedAway {
        let message = format!("TLS with {} failed: {cause}", self.server_name);
        let hint = "check that host and port are the database's own, and that it is up".to_owned();
        TurnedAway::new(Reason::Tls, "08001", message, hint)
    }
}

/// Verifies a server against the roots of `config` alone.
fn tls_config(config: &FrontConfig) -> Result<ClientConfig, rustls::Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(config.roots.iter().cloned());
    let mut provider = aws_lc_rs::default_provider();
    if config.engine == Engine::Postgres {
        // The one group that PostgreSQL takes before version 18 unless it is told others (`ssl_ecdh_curve`). With a key for
        // another group it asks again, which costs each login a round trip.
        provider.kx_groups.sort_by_key(|group| group.name() != NamedGroup::secp256r1);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

#[cfg(test)]
mod tests;
