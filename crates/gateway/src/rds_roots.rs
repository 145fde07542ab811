//! The authorities that the certificates of RDS, Aurora and RDS Proxy chain to, as AWS publishes them.
//!
//! Files: `roots/rds.pem` and `roots/amazon.pem`, where they are from stands in them. A newer bundle (the catalog's
//! `ca-bundle`, AWS's `global-bundle.pem`) adds to them without an update of the program.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// The embedded authorities as one PEM text, for clients that want a file: RDS's own of each Region, then Amazon's public
/// ones for RDS Proxy.
pub const RDS_ROOTS_PEM: &str = concat!(include_str!("../roots/rds.pem"), include_str!("../roots/amazon.pem"));

/// A bundle that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RootsError {
    /// It holds no certificate at all.
    #[error("it holds no certificate in PEM form")]
    Empty,
    /// One of its certificates is damaged.
    #[error("its certificate number {number} is damaged: {cause}")]
    Malformed {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        cause: String,
    },
}

/// The embedded authorities, and those of `bundle` (PEM) in addition.
///
/// # Errors
/// [`RootsError`] for a `bundle` without certificates or with a damaged one; nothing of it is used then.
pub fn rds_roots(bundle: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let mut roots = certificates(RDS_ROOTS_PEM.as_bytes())?;
    for root in bundle.map(certificates).transpose()?.unwrap_or_default() {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let malformed = |number, cause: String| RootsError::Malformed { number, cause };
    let mut found = Vec::new();
    for (at, certificate) in CertificateDer::pem_slice_iter(pem).enumerate() {
        let certificate = certificate.map_err(|error| malformed(at + 1, error.to_string()))?;
        rustls::RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| malformed(at + 1, error.to_string()))?;
        found.push(certificate);
    }
    if found.is_empty() { Err(RootsError::Empty) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// One DER element: its tag, its content, and what follows it.
    fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
        let (tag, rest) = der.split_first().expect("a tag");
        let (first, rest) = rest.split_first().expect("a length");
        let (length, rest) = match usize::from(*first) {
            short @ 0..=127 => (short, rest),
            long => {
                let (length, rest) = rest.split_at(long - 128);
                (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
        };
        let (content, after) = rest.split_at(length);
        (*tag, content, after)
    }

    /// `YYYYMMDDHHMMSSZ` of notBefore and notAfter: version, serial, algorithm and issuer stand before them.
    fn validity(certificate: &CertificateDer<'_>) -> [String; 2] {
        let (_, certificate, _) = element(certificate);
        let (_, mut left, _) = element(certificate);
        for _ in 0..4 {
            left = element(left).2;
        }
        let (_, dates, _) = element(left);
        let (first, not_before, rest) = element(dates);
        let (second, not_after, _) = element(rest);
        [(first, not_before), (second, not_after)].map(|(tag, date)| {
            let date = String::from_utf8(date.to_vec()).expect("a date is ASCII");
            // UTCTime has two digits for the year: 50 and above are of the last century.
            let century = if date.as_str() < "50" { "20" } else { "19" };
            if tag == 0x17 { format!("{century}{date}") } else { date }
        })
    }

    #[test]
    fn every_embedded_authority_is_valid_today() {
        let now = sandbox::clock::Clock::real().now().strftime("%Y%m%d%H%M%SZ").to_string();
        let roots = rds_roots(None).expect("the embedded files are whole");
        assert_eq!(roots.len(), 86);
        for root in &roots {
            let [not_before, not_after] = validity(root);
            assert!(not_before < now && now < not_after, "{not_before} to {not_after}");
        }
    }

    #[test]
    fn every_region_has_its_three_authorities() {
        let mut regions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in RDS_ROOTS_PEM.lines().filter_map(|line| line.strip_prefix("# Amazon RDS ")) {
            let (region, kind) = line.split_once(" Root CA ").expect("a Region and a kind of key");
            regions.entry(region).or_default().push(kind.split_once(' ').expect("a generation").0);
        }
        assert_eq!(regions.len(), 27);
        for (region, kinds) in regions {
            assert_eq!(kinds, ["ECC384", "RSA2048", "RSA4096"], "{region}");
        }
    }

    #[test]
    fn a_bundle_adds_to_what_is_embedded() {
        let embedded = rds_roots(None).expect("the embedded files are whole").len();
        assert_eq!(rds_roots(Some(RDS_ROOTS_PEM.as_bytes())).expect("the same again").len(), embedded);
        let clock = sandbox::clock::Clock::real();
        let own = sandbox::tls::CertificateAuthority::new("Own", clock.now()).expect("a key can be made");
        let roots = rds_roots(Some(own.ca_pem().as_bytes())).expect("one more");
        assert_eq!((roots.len(), roots.last()), (embedded + 1, Some(own.ca_der())));
    }

    #[test]
    fn a_bundle_that_is_none_is_refused() {
        assert_eq!(rds_roots(Some(b"<html>sign in first</html>")), Err(RootsError::Empty));
        let damaged = RDS_ROOTS_PEM.replacen("MII", "AAA", 1);
        assert!(matches!(rds_roots(Some(damaged.as_bytes())), Err(RootsError::Malformed { number: 1, .. })));
    }
}
