//! Whom a `wss` address is believed: the well-known authorities, the machine's own, and those the user names.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// Where distributions keep the authorities of the machine: a private one is usually added there.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];
/// Files the user may name; the second is what Node reads.
const VARIABLES: &[&str] = &["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];

/// The configuration of TLS; certificates are always verified.
pub(super) fn client_config(further: &[PathBuf]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let named = VARIABLES.iter().filter_map(std::env::var_os).map(PathBuf::from);
    let bundle = BUNDLES.iter().map(PathBuf::from).find(|p| p.exists());
    for path in named.chain(bundle).chain(further.iter().cloned()) {
        if let Ok(certificates) = CertificateDer::pem_file_iter(&path) {
            roots.add_parsable_certificates(certificates.flatten());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
