//! The certificate that clients on this machine see.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// As ALPN names PostgreSQL; clients that open with TLS directly must offer it.
pub(crate) const ALPN_POSTGRESQL: &[u8] = b"postgresql";
const DAY: Duration = Duration::from_secs(86_400);
/// The longest that every TLS library takes.
const VALID: u32 = 397;

/// TLS for clients that ask for it, with a certificate for `localhost`, the loopback addresses and the Target's name.
///
/// The authority that signed it is made for it and its key thrown away: who trusts its certificate trusts nothing else.
pub(crate) struct LocalCertificate {
    /// Of the authority, for `sslrootcert` and its like.
    pub(crate) authority_pem: String,
    pub(crate) config: Arc<ServerConfig>,
}

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The endpoint's name cannot stand in a certificate.
    #[error("no local certificate can be made for {server_name}: {cause}; check the endpoint in the catalog")]
    Make {
        /// The Target's endpoint.
        server_name: String,
        /// From the library.
        cause: rcgen::Error,
    },
    /// The TLS library does not take it.
    #[error("the local certificate cannot be used: {0}")]
    Use(#[from] rustls::Error),
}

impl LocalCertificate {
    pub(crate) fn make(server_name: &str, alpn: &[&[u8]]) -> Result<Self, CertificateError> {
        let failed = |cause| CertificateError::Make { server_name: server_name.to_owned(), cause };
        let authority =
            CertifiedIssuer::self_signed(authority_params(), KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let names = ["localhost", "127.0.0.1", "::1", server_name].map(str::to_owned);
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        limit(&mut params);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &authority).map_err(failed)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            // MariaDB's client of 11.4 and later takes an authority it does not know on this machine, but none it does not see.
            .with_single_cert(vec![certificate.der().clone(), authority.der().clone()], key)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self { authority_pem: authority.pem(), config: Arc::new(config) })
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Daypass on this computer");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    limit(&mut params);
    params
}

/// From yesterday, for clients whose clock is behind.
fn limit(params: &mut CertificateParams) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    params.not_before = now - DAY;
    params.not_after = now + DAY * VALID;
}
