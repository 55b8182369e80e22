//! TLS on by default: the operator's own certificate, or a generated local CA whose leaf renews itself. The
//! CA is constrained, critically, to the names of this installation, so that trusting it cannot harm others;
//! its key is kept sealed in the control file.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::identity::Control;
use crate::identity::control::Note;
use crate::seal::{Place, Sealed, Secret};
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// One row: the local CA.
pub const LOCAL_CA: Table<u8, LocalCa> = Table::new("local_ca", 1);
const PLACE: Place<'static> = Place { workspace: "control", table: "local_ca", key: "0" };

const CA_YEARS: i64 = 10;
/// Leaves live this long and are renewed when a third of it is left.
const LEAF_DAYS: i64 = 90;
const RENEW_DAYS: i64 = 30;

/// Why TLS can't start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the certificate or key can't be used: {0}")]
    Certificate(String),
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    #[error(transparent)]
    Seal(#[from] crate::seal::SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The generated CA, for the names it may sign.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalCa {
    pub names: Vec<String>,
    pub certificate_pem: String,
    key: Sealed,
}

impl LocalCa {
    /// The CA for `names`, made at the first start and again when the names change.
    pub fn ensure(control: &Control, names: &[String]) -> Result<Self, TlsError> {
        if let Some(ca) = control.read()?.get(&LOCAL_CA, &0)?
            && ca.names == names
        {
            return Ok(ca);
        }
        let now = control.clock().now();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Vynos local CA for {}", names.join(", ")));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let permitted_subtrees = names.iter().map(|name| subtree(name)).collect();
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        (params.not_before, params.not_after) = lifetime(now, CA_YEARS * 365);
        let certificate_pem = params.self_signed(&key)?.pem();
        let sealed = control.records().seal_record(PLACE, &Secret::new(key.serialize_pem()));
        let ca = Self { names: names.to_vec(), certificate_pem, key: sealed };
        let kept = ca.clone();
        control
            .change_now(Note::new(Actor::Operator, Action::InstanceSettingsChanged, "local CA"), |tx| {
                tx.put(&LOCAL_CA, &0, &kept)
            })?;
        Ok(ca)
    }

    /// SHA-256 of the CA certificate, as browsers show it.
    pub fn fingerprint(&self) -> String {
        let der = CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).map(|c| c.to_vec());
        let hash = ring::digest::digest(&ring::digest::SHA256, &der.unwrap_or_default());
        hash.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
    }

    fn leaf(&self, control: &Control) -> Result<CertifiedKey, TlsError> {
        let ca_key = control.records().open_record(PLACE, &self.key)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, KeyPair::from_pem(ca_key.expose())?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name.push(DnType::CommonName, self.names.first().cloned().unwrap_or_default());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = lifetime(control.clock().now(), LEAF_DAYS);
        let chain = format!("{}{}", params.signed_by(&key, &issuer)?.pem(), self.certificate_pem);
        certified(chain.as_bytes(), key.serialize_pem().as_bytes())
    }
}

fn subtree(name: &str) -> GeneralSubtree {
    match name.parse::<IpAddr>() {
        Ok(ip) => {
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(ip, if ip.is_ipv4() { 32 } else { 128 }))
        }
        Err(_) => GeneralSubtree::DnsName(name.to_owned()),
    }
}

/// From a day before `now` (clocks differ) for `days`.
fn lifetime(now: Timestamp, days: i64) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let day = |offset: i64| {
        let date = TimeZone::UTC.to_datetime(now).date().saturating_add(offset.days());
        rcgen::date_time_ymd(i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
    };
    (day(-1), day(days))
}

fn certified(chain: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let bad = |what: &str| TlsError::Certificate(what.to_owned());
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|e| bad(&e.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad(&e.to_string()))?;
    if chain.is_empty() {
        return Err(bad("no certificate in the file"));
    }
    let certified = CertifiedKey::new(chain, rustls::crypto::ring::sign::any_supported_type(&key)?);
    certified.keys_match().map_err(|_| bad("the key does not belong to the certificate"))?;
    Ok(certified)
}

/// The certificate that is served now.
#[derive(Clone)]
pub struct Served(Arc<RwLock<(Arc<CertifiedKey>, Timestamp)>>);

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Served")
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

impl Served {
    /// A leaf of the local CA.
    pub fn local(ca: &LocalCa, control: &Control) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new((Arc::new(ca.leaf(control)?), control.clock().now())))))
    }

    /// The operator's own files (PEM).
    pub fn files(chain: &Path, key: &Path, now: Timestamp) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new((Arc::new(read_files(chain, key)?), now)))))
    }

    /// Reads the operator's files again (SIGHUP); keeps the old certificate when they can't be used.
    pub fn reload(&self, chain: &Path, key: &Path, now: Timestamp) -> Result<(), TlsError> {
        let fresh = Arc::new(read_files(chain, key)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (fresh, now);
        Ok(())
    }

    /// Makes a new leaf when the current one is old enough; answers whether it did.
    pub fn renew(&self, ca: &LocalCa, control: &Control) -> Result<bool, TlsError> {
        let now = control.clock().now();
        let made = self.0.read().unwrap_or_else(PoisonError::into_inner).1;
        if now.duration_since(made).as_hours() < (LEAF_DAYS - RENEW_DAYS) * 24 {
            return Ok(false);
        }
        let fresh = Arc::new(ca.leaf(control)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (fresh, now);
        Ok(true)
    }

    /// When the certificate that is served ends; `None` when it can't be read.
    pub fn ends(&self) -> Option<Timestamp> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let leaf = held.0.cert.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
    }

    /// The server's TLS settings: 1.2 and 1.3, HTTP/1.1, ring alone.
    pub fn config(&self) -> Result<rustls::ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read_files(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|e| TlsError::Certificate(format!("{}: {e}", path.display())))
    };
    certified(&read(chain)?, &read(key)?)
}
