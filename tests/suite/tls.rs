//! TLS as shipped: the local CA signs for its names only, leaves renew, files reload.

use jiff::SignedDuration;
use vynos::app::{App, TlsMode};
use vynos::clock::Clock;
use vynos::seal::MasterKey;

use crate::harness::options;

#[expect(clippy::disallowed_methods, reason = "a test's own browser, not the product's way out")]
pub fn browser(ca: &str) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([ca]).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_ca_is_trusted_once_and_survives_restarts_and_renewal() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let clock = Clock::manual(vynos::clock::Clock::system().now());
    let start = || async {
        App::start(vynos::app::Options { tls: TlsMode::Local, ..options(dir.path(), clock.clone()) })
            .await
            .unwrap()
    };
    let app = start().await;
    let fingerprint = app.fingerprint.clone().unwrap();
    let insecure_ca = {
        let read = app.web.control.read().unwrap();
        vynos::store::Read::get(&read, &vynos::web::tls::LOCAL_CA, &0).unwrap().unwrap().certificate_pem
    };
    let url = format!("{}healthz", app.url);
    assert_eq!(browser(&insecure_ca).get(&url).send().await.unwrap().status(), 200);
    let by_address = url.replace("localhost", "127.0.0.1");
    assert_eq!(browser(&insecure_ca).get(&by_address).send().await.unwrap().status(), 200);
    clock.advance(SignedDuration::from_hours(24 * 61));
    app.reload_certificate().unwrap();
    app.stop(std::time::Duration::from_secs(5)).await;
    let app = start().await;
    assert_eq!(app.fingerprint.clone().unwrap(), fingerprint, "the CA stays, only leaves change");
    app.stop(std::time::Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_refused_beyond_loopback() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let mut options = options(dir.path(), Clock::system());
    options.listen = "0.0.0.0:0".parse().unwrap();
    let error = App::start(options).await.err().unwrap();
    assert!(error.to_string().contains("only served on loopback"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_fit_its_certificate_is_told() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let (a, b) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&a).unwrap();
    std::fs::write(dir.path().join("c.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.path().join("k.pem"), b.serialize_pem()).unwrap();
    let mut options = options(dir.path(), Clock::system());
    options.tls = TlsMode::Files { chain: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
    let error = App::start(options).await.err().unwrap();
    assert!(error.to_string().contains("does not belong"), "{error}");
}
