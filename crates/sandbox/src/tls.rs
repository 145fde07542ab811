//! Certificates: an authority of the sandbox's own, and what is wrong with certificates in the wild.

use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Signs server certificates. Made anew for each sandbox; a second one is the foreign authority of a test.
pub struct CertificateAuthority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, ready to serve TLS.
#[derive(Clone)]
pub struct ServerCertificate {
    config: Arc<ServerConfig>,
}

/// A certificate that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// For example, a name that is no DNS name.
    #[error("cannot make a certificate for `{name}`: {cause}")]
    Certificate {
        /// The first name in it.
        name: String,
        /// From the library.
        cause: rcgen::Error,
    },
    /// The TLS library does not take it.
    #[error("cannot serve TLS with the certificate for `{name}`: {cause}")]
    Rustls {
        /// The first name in it.
        name: String,
        /// From the library.
        cause: rustls::Error,
    },
}

impl CertificateAuthority {
    /// An authority called `name`, valid from the day before `now` for ten years.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] when no key can be made.
    pub fn new(name: &str, now: Timestamp) -> Result<Self, TlsError> {
        let failed = |cause| TlsError::Certificate { name: name.to_owned(), cause };
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, "Daypass sandbox");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        limit(&mut params, now, -1, 3_650);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) })
    }

    /// The authority's certificate, as a client's root bundle.
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// The authority's certificate, for a root store.
    pub fn ca_der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// A certificate for these names (or addresses), valid from the day before `now` for a year.
    ///
    /// # Errors
    /// [`TlsError`] for a name that no certificate can carry.
    pub fn certificate(&self, names: &[&str], now: Timestamp) -> Result<ServerCertificate, TlsError> {
        self.sign(names, now, -1, 365)
    }

    /// A certificate that ended the day before `now`.
    ///
    /// # Errors
    /// As [`CertificateAuthority::certificate`].
    pub fn expired_certificate(&self, names: &[&str], now: Timestamp) -> Result<ServerCertificate, TlsError> {
        self.sign(names, now, -365, -1)
    }

    fn sign(&self, names: &[&str], now: Timestamp, from: i32, to: i32) -> Result<ServerCertificate, TlsError> {
        let name = names.first().copied().unwrap_or_default().to_owned();
        let failed = |cause| TlsError::Certificate { name: name.clone(), cause };
        let names: Vec<_> = names.iter().copied().map(str::to_owned).collect();
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        limit(&mut params, now, from, to);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let chain = vec![certificate.der().clone(), self.der.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        server_config(chain, key).map_err(|cause| TlsError::Rustls { name, cause })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").finish_non_exhaustive()
    }
}

impl ServerCertificate {
    /// Does TLS as the server of this certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").finish_non_exhaustive()
    }
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerCertificate, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(ServerCertificate { config: Arc::new(config) })
}

/// Whole days from `now`.
fn limit(params: &mut CertificateParams, now: Timestamp, from: i32, to: i32) {
    let day = |offset: i32| {
        let date = now.saturating_add(DAY * offset).unwrap_or(now).to_zoned(TimeZone::UTC).date();
        date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    params.not_before = day(from);
    params.not_after = day(to);
}
