//! Whose certificates are believed.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::Outcome;

/// The authorities in the PEM file `bundle` and no other.
pub(crate) fn only(bundle: &Path) -> Outcome<Arc<ClientConfig>> {
    let unreadable = |cause: &dyn std::fmt::Display| format!("no certificates in {}: {cause}", bundle.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(|cause| unreadable(&cause))? {
        roots.add(certificate.map_err(|cause| unreadable(&cause))?)?;
    }
    if roots.is_empty() {
        return Err(unreadable(&"it is empty").into());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}
