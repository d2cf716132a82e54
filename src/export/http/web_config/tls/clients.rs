//! Which certificates clients need: none, any, or one that an authority of the file has signed, with
//! one of the allowed names.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::super::file::Tls;
use super::{certificates, pem};

/// What `client_auth_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    None,
    /// A certificate is asked for; its authority is not looked at.
    Any {
        mandatory: bool,
    },
    Verified {
        mandatory: bool,
    },
}

impl Policy {
    fn of(tls: &Tls) -> Result<Self, String> {
        Ok(match tls.client_auth_type.as_deref() {
            None | Some("" | "NoClientCert") => Self::None,
            Some("RequestClientCert") => Self::Any { mandatory: false },
            Some("RequireAnyClientCert" | "RequireClientCert") => Self::Any { mandatory: true },
            Some("VerifyClientCertIfGiven") => Self::Verified { mandatory: false },
            Some("RequireAndVerifyClientCert") => Self::Verified { mandatory: true },
            Some(_) => {
                return Err("client_auth_type takes NoClientCert, RequestClientCert, \
                            RequireAnyClientCert, VerifyClientCertIfGiven or \
                            RequireAndVerifyClientCert"
                    .into());
            }
        })
    }

    const fn is_mandatory(self) -> bool {
        matches!(self, Self::Any { mandatory: true } | Self::Verified { mandatory: true })
    }
}

/// What judges the certificates of clients; `None` where they are not asked for.
pub(super) fn verifier(
    tls: &Tls,
    folder: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    let policy = Policy::of(tls)?;
    let authorities =
        pem("client_ca", tls.client_ca.as_ref(), tls.client_ca_file.as_ref(), folder)?;
    if authorities.is_some() && policy == Policy::None {
        return Err("client_ca_file has no effect without a client_auth_type".into());
    }
    if tls.client_allowed_sans.is_some() && !policy.is_mandatory() {
        return Err("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert or \
                    RequireAnyClientCert: a client without a certificate has no name"
            .into());
    }
    let chain: Option<Arc<dyn ClientCertVerifier>> = match policy {
        Policy::None => return Ok(None),
        Policy::Any { .. } => None,
        Policy::Verified { .. } => {
            let authorities = authorities.ok_or(
                "client_ca_file is missing: without it no certificate of a client can be verified",
            )?;
            let roots = Arc::new(roots(&authorities)?);
            let chain = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let chain = chain.build().map_err(|error| format!("client_ca_file: {error}"))?;
            Some(chain)
        }
    };
    Ok(Some(Arc::new(Clients {
        chain,
        names: tls.client_allowed_sans.clone(),
        mandatory: policy.is_mandatory(),
        algorithms: provider.signature_verification_algorithms,
    })))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "client_ca_file or client_ca")? {
        roots.add(certificate).map_err(|error| format!("client_ca_file: {error}"))?;
    }
    Ok(roots)
}

/// Judges certificates of clients. Whoever shows one proves in any case that its key is theirs.
#[derive(Debug)]
struct Clients {
    /// Verifies who has signed a certificate; `None` where anybody may.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// A certificate needs one of these names; `None` where it needs no name.
    names: Option<Vec<String>>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        let has_name = |names: &Vec<String>| has_one_of(end_entity, names);
        if self.names.as_ref().is_some_and(|names| !has_name(names)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a subject alternative name of the certificate (RFC 5280, section 4.2.1.6) is one of `names`,
/// letter by letter: a wildcard is a name like any other.
fn has_one_of(certificate: &CertificateDer<'_>, names: &[String]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return false };
    alternatives.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            names.iter().any(|allowed| allowed == name)
        }
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(std::net::IpAddr::from),
            };
            address.is_some_and(|address| names.contains(&address.to_string()))
        }
        _ => false,
    })
}
