//! The AWS triple.

use model::WallTime;
use secrets::Secret;

/// What STS gives for a while. Always in memory only.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `ASIA…`
    pub access_key_id: Secret<String>,
    /// The signing key.
    pub secret_access_key: Secret<String>,
    /// Sent along with each call; none for a user's long-lived pair.
    pub session_token: Option<Secret<String>>,
    /// When they stop working, on AWS's clock.
    pub expires_at: WallTime,
}

impl Credentials {
    /// As the SDK wants them. Their expiry stays with us: it is checked before each call, so that expired credentials are
    /// told as such and not as a refusal of AWS.
    pub(crate) fn to_sdk(&self) -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new(
            self.access_key_id.expose(),
            self.secret_access_key.expose(),
            self.session_token.as_ref().map(|token| token.expose().clone()),
            None,
            "daypass",
        )
    }
}
