//! OpenID Connect: authorization code with PKCE, the answer brought to a loopback listener (RFC 8252).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use model::WallTime;
use oauth2::{AsyncHttpClient, RequestTokenError, StandardErrorResponse, TokenResponse as _};
use oauth2::{
    AuthorizationCode, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, Scope,
};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod,
    CoreErrorResponseType, CoreGrantType, CoreIdToken, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
};
use openidconnect::{
    AdditionalProviderMetadata, DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce,
    ProviderMetadata, TokenResponse as _,
};
use secrets::Secret;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::SignInError;
use crate::fetch::{Fetch, FetchError, causes, is_safe};
use crate::loopback::{Brought, Loopback};

/// How long a person has in the browser.
pub const SIGN_IN_LIMIT: Duration = Duration::from_secs(300);
/// How far in the future an IdToken may have been issued: clocks of providers differ.
const ISSUED_AHEAD: Duration = Duration::from_secs(120);

/// What time it is, corrected by the measured skew.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> WallTime + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> WallTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", (self.0)())
    }
}

/// An identity provider as the catalog describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OidcProvider {
    /// Its issuer URL, exactly as it names itself: https, or http on loopback.
    pub issuer: String,
    /// Under which public client Daypass is registered there.
    pub client_id: String,
}

/// One identity provider, ready to be asked.
#[derive(Clone, Debug)]
pub struct Oidc {
    provider: OidcProvider,
    clock: Clock,
    fetch: Fetch,
}

/// A sign-in that waits for a person in a browser. Dropping it closes its listener.
#[derive(Debug)]
pub struct PendingSignIn {
    /// The page to open.
    pub authorize_url: String,
    oidc: Oidc,
    metadata: Metadata,
    loopback: Loopback,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    deadline: Instant,
}

/// A person whose name the identity provider vouched for.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who: the email address if the provider does not call it unverified, else the `sub` claim.
    pub subject: String,
    /// What AWS takes as proof.
    pub id_token: Secret<String>,
    /// What renews the IdToken without a person; none when the provider gives none.
    pub refresh_token: Option<Secret<String>>,
    /// When AWS stops taking the IdToken.
    pub id_token_expires_at: WallTime,
}

impl Oidc {
    /// The identity provider as seen by `clock`. Nothing is sent.
    ///
    /// # Errors
    /// [`SignInError::PlainAddress`] for an issuer that is neither https nor on loopback.
    pub fn new(provider: OidcProvider, clock: Clock) -> Result<Self, SignInError> {
        if !is_safe(&provider.issuer) {
            return Err(SignInError::PlainAddress { url: provider.issuer });
        }
        let fetch = Fetch::for_issuer(&provider.issuer).map_err(|e| bad_provider(&provider.issuer, e.to_string()))?;
        Ok(Self { provider, clock, fetch })
    }

    /// Finds the provider's addresses and makes everything ready for a browser.
    ///
    /// # Errors
    /// [`SignInError::Unreachable`], [`SignInError::BadProvider`], [`SignInError::NoPort`].
    pub async fn begin(&self) -> Result<PendingSignIn, SignInError> {
        let deadline = Instant::now() + SIGN_IN_LIMIT;
        let metadata = self.discover().await?;
        let (state, nonce) = (CsrfToken::new_random_len(32), Nonce::new_random_len(32));
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let loopback = Loopback::open(&state).await?;
        let client = self.client(&metadata, Some(&loopback.redirect_uri()))?;
        let sent = nonce.clone();
        let mut request = client.authorize_url(CoreAuthenticationFlow::AuthorizationCode, move || state, move || sent);
        for scope in scopes(&metadata) {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        let (authorize_url, _, _) = request.set_pkce_challenge(challenge).url();
        if !is_safe(authorize_url.as_str()) {
            return Err(SignInError::PlainAddress { url: metadata.authorization_endpoint().to_string() });
        }
        let authorize_url = authorize_url.into();
        Ok(PendingSignIn { authorize_url, oidc: self.clone(), metadata, loopback, nonce, verifier, deadline })
    }

    /// Renews the IdToken of `subject`. The provider may have replaced the RefreshToken: keep the one that comes back before
    /// anything else is done.
    ///
    /// # Errors
    /// [`SignInError::Ended`] when only a person can renew the sign-in, [`SignInError::WrongPerson`], [`SignInError::Untrusted`],
    /// [`SignInError::Unreachable`].
    pub async fn refresh(&self, subject: &str, refresh_token: &Secret<String>) -> Result<SignedIn, SignInError> {
        let metadata = self.discover().await?;
        let client = self.client(&metadata, None)?;
        let old = RefreshToken::new(refresh_token.expose().clone());
        let request = client.exchange_refresh_token(&old).map_err(|e| self.bad(e.to_string()))?;
        let answer = request.request_async(&self.fetch).await.map_err(|e| self.refused(e))?;
        let mut signed_in = self.signed_in(&client, &answer, None)?;
        if signed_in.subject != subject {
            let (subject, actual) = (subject.to_owned(), signed_in.subject);
            return Err(SignInError::WrongPerson { issuer: self.provider.issuer.clone(), subject, actual });
        }
        signed_in.refresh_token.get_or_insert_with(|| refresh_token.clone());
        Ok(signed_in)
    }

    /// Tells the provider that a RefreshToken is of no more use; a provider that cannot be told that is fine.
    ///
    /// # Errors
    /// [`SignInError::Unreachable`] and [`SignInError::BadProvider`]; signing out goes on regardless.
    pub async fn revoke(&self, refresh_token: &Secret<String>) -> Result<(), SignInError> {
        let metadata = self.discover().await?;
        let Some(endpoint) = metadata.additional_metadata().revocation_endpoint.clone() else { return Ok(()) };
        // In one expression: the serialiser is not Send and must not live across the call.
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("token", refresh_token.expose())
            .append_pair("token_type_hint", "refresh_token")
            .append_pair("client_id", &self.provider.client_id)
            .finish();
        let request = oauth2::http::Request::post(endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.into_bytes())
            .map_err(|e| self.bad(e.to_string()))?;
        let answer = self.fetch.call(request).await.map_err(|e| self.unreached(&e))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(self.bad(format!("revocation answered {}", answer.status())))
        }
    }

    async fn discover(&self) -> Result<Metadata, SignInError> {
        let issuer = IssuerUrl::new(self.provider.issuer.clone()).map_err(|e| self.bad(e.to_string()))?;
        let found = Metadata::discover_async(issuer, &self.fetch).await;
        found.map_err(|error| {
            if let DiscoveryError::Request(error) = error { self.unreached(&error) } else { self.bad(causes(&error)) }
        })
    }

    fn client(&self, metadata: &Metadata, redirect_uri: Option<&str>) -> Result<Client, SignInError> {
        let id = ClientId::new(self.provider.client_id.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, None);
        let Some(uri) = redirect_uri else { return Ok(client) };
        Ok(client.set_redirect_uri(RedirectUrl::new(uri.to_owned()).map_err(|e| self.bad(e.to_string()))?))
    }

    /// Checks the IdToken: signature, issuer, audience, times, and the nonce when one was sent.
    fn signed_in(
        &self,
        client: &Client,
        answer: &CoreTokenResponse,
        nonce: Option<&Nonce>,
    ) -> Result<SignedIn, SignInError> {
        let id_token = answer.id_token().ok_or_else(|| self.untrusted("the provider gave none".into()))?;
        let now = utc((self.clock.0)());
        let verifier = client.id_token_verifier().set_time_fn(move || now).set_issue_time_verifier_fn(move |issued| {
            if issued <= now + ISSUED_AHEAD {
                Ok(())
            } else {
                Err(format!("it is issued at {issued}, and it is {now}"))
            }
        });
        let claims = match nonce {
            Some(nonce) => id_token.claims(&verifier, nonce),
            None => id_token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
        };
        let claims = claims.map_err(|e| self.untrusted(causes(&e)))?;
        let email = claims.email().filter(|_| claims.email_verified() != Some(false));
        Ok(SignedIn {
            subject: email.map_or_else(|| claims.subject().to_string(), |email| email.to_string()),
            id_token: encoded(id_token),
            refresh_token: answer.refresh_token().map(|token| Secret::new(token.secret().clone())),
            id_token_expires_at: WallTime::from_unix_seconds(claims.expiration().timestamp()),
        })
    }

    fn refused(
        &self,
        error: RequestTokenError<FetchError, StandardErrorResponse<CoreErrorResponseType>>,
    ) -> SignInError {
        let issuer = self.provider.issuer.clone();
        match error {
            RequestTokenError::ServerResponse(words) => {
                let cause = words.error_description().cloned().unwrap_or_else(|| "it does not say why".into());
                let code = words.error().to_string();
                if code == "invalid_grant" {
                    SignInError::Ended { issuer, cause }
                } else {
                    SignInError::Refused { issuer, code, cause }
                }
            }
            RequestTokenError::Request(error) => self.unreached(&error),
            // The bytes of an answer that cannot be read may hold tokens: only what is wrong with them is told.
            RequestTokenError::Parse(error, _) => self.bad(format!("its token answer cannot be read: {error}")),
            RequestTokenError::Other(cause) => self.bad(cause),
        }
    }

    fn unreached(&self, error: &FetchError) -> SignInError {
        match error {
            FetchError::Plain(url) => SignInError::PlainAddress { url: url.clone() },
            FetchError::Failed(cause) => {
                SignInError::Unreachable { issuer: self.provider.issuer.clone(), cause: cause.clone() }
            }
            FetchError::TooLarge => self.bad(error.to_string()),
        }
    }

    fn bad(&self, cause: String) -> SignInError {
        bad_provider(&self.provider.issuer, cause)
    }

    fn untrusted(&self, cause: String) -> SignInError {
        SignInError::Untrusted { issuer: self.provider.issuer.clone(), cause }
    }
}

impl PendingSignIn {
    /// Waits until the browser brings the answer, and turns it into tokens.
    ///
    /// # Errors
    /// [`SignInError::Cancelled`], [`SignInError::TimedOut`] after [`SIGN_IN_LIMIT`], [`SignInError::Refused`],
    /// [`SignInError::MixedUp`], [`SignInError::Untrusted`], [`SignInError::Unreachable`].
    pub async fn finish(self) -> Result<SignedIn, SignInError> {
        let Self { oidc, metadata, loopback, nonce, verifier, deadline, .. } = self;
        let (redirect_uri, strays) = (loopback.redirect_uri(), loopback.strays());
        let brought = tokio::time::timeout_at(deadline, loopback.brought()).await;
        let brought = brought.map_err(|_| SignInError::TimedOut {
            issuer: oidc.provider.issuer.clone(),
            minutes: SIGN_IN_LIMIT.as_secs() / 60,
            strays: strays.load(Ordering::Relaxed),
        })?;
        let brought = brought.ok_or_else(|| SignInError::NoPort { cause: "the listener ended".into() })?;
        let code = oidc.code(&metadata, brought)?;
        let client = oidc.client(&metadata, Some(&redirect_uri))?;
        let request = client.exchange_code(code).map_err(|e| oidc.bad(e.to_string()))?;
        let answer =
            request.set_pkce_verifier(verifier).request_async(&oidc.fetch).await.map_err(|e| oidc.refused(e))?;
        oidc.signed_in(&client, &answer, Some(&nonce))
    }
}

impl Oidc {
    /// RFC 9207: an answer that names its issuer must name this one, and one that promised to must.
    fn code(&self, metadata: &Metadata, brought: Brought) -> Result<AuthorizationCode, SignInError> {
        let issuer = self.provider.issuer.clone();
        let promised = metadata.additional_metadata().authorization_response_iss_parameter_supported;
        let named = brought.iss.or_else(|| promised.then(|| "an issuer it does not name".to_owned()));
        if let Some(actual) = named.filter(|actual| *actual != issuer) {
            return Err(SignInError::MixedUp { issuer, actual });
        }
        let cause = brought.error_description.unwrap_or_else(|| "it does not say why".into());
        match (brought.error, brought.code) {
            (Some(error), _) if error == "access_denied" => Err(SignInError::Cancelled { issuer }),
            (Some(code), _) => Err(SignInError::Refused { issuer, code, cause }),
            (None, Some(code)) => Ok(AuthorizationCode::new(code)),
            (None, None) => Err(self.bad("it sent the browser back without a code".into())),
        }
    }
}

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// What we read of discovery beyond OpenID Connect's own fields.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Extra {
    /// RFC 9207.
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    /// RFC 7009.
    revocation_endpoint: Option<String>,
}

impl AdditionalProviderMetadata for Extra {}

type Metadata = ProviderMetadata<
    Extra,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// `openid` is always asked for. Some providers refuse scopes they do not list.
fn scopes(metadata: &Metadata) -> impl Iterator<Item = &'static str> {
    let listed = metadata.scopes_supported().cloned();
    ["email", "profile", "offline_access"].into_iter().filter(move |wanted| match &listed {
        Some(listed) => listed.iter().any(|scope| scope.as_str() == *wanted),
        None => *wanted != "offline_access",
    })
}

fn encoded(id_token: &CoreIdToken) -> Secret<String> {
    Secret::new(id_token.to_string())
}

fn utc(at: WallTime) -> DateTime<Utc> {
    DateTime::from_timestamp(at.unix_seconds(), 0).unwrap_or(DateTime::UNIX_EPOCH)
}

fn bad_provider(issuer: &str, cause: String) -> SignInError {
    SignInError::BadProvider { issuer: issuer.to_owned(), cause }
}
