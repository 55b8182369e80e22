//! ID tokens that must not count, from a small provider that signs whatever it is told to.

use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use vynos::clock::Clock;

use crate::harness::Server;
use crate::sso::{here, ready, settings, text};

/// Changes header and claims of a good token.
type Change = fn(&mut Value, &mut Value);

/// What the next token says, and how it is signed.
struct Told {
    issuer: String,
    nonce: String,
    change: Change,
    forge: Forge,
    /// Who the user info endpoint says it is.
    informs_of: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Forge {
    No,
    /// By a key that is not the provider's.
    OtherKey,
    /// No signature at all.
    Unsigned,
    /// HMAC with the client secret, and with the public key as text.
    Hmac,
}

#[derive(Clone)]
struct Own {
    told: Arc<Mutex<Told>>,
    key: Arc<EcdsaKeyPair>,
    other: Arc<EcdsaKeyPair>,
}

fn key() -> Arc<EcdsaKeyPair> {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    Arc::new(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap())
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

async fn answer(own: web::Data<Own>, request: HttpRequest) -> HttpResponse {
    let told = own.told.lock().unwrap();
    let issuer = &told.issuer;
    let body = match request.path() {
        "/.well-known/openid-configuration" => json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
            "userinfo_endpoint": format!("{issuer}/me"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        }),
        "/me" => {
            json!({"sub": told.informs_of, "email": format!("{}@halden.example", told.informs_of), "email_verified": true})
        }
        "/keys" => {
            let point = own.key.public_key().as_ref();
            json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k", "x": b64(&point[1..33]), "y": b64(&point[33..])}]})
        }
        "/token" => json!({
            "access_token": "access", "token_type": "Bearer", "expires_in": 60, "id_token": token(&own, &told),
        }),
        _ => return HttpResponse::NotFound().finish(),
    };
    HttpResponse::Ok().json(body)
}

fn token(own: &Own, told: &Told) -> String {
    let now = Clock::system().now().as_second();
    let mut header = json!({"alg": "ES256", "kid": "k", "typ": "JWT"});
    let mut claims = json!({
        "iss": told.issuer, "aud": "vynos", "sub": "grace", "nonce": told.nonce, "iat": now, "exp": now + 60,
        "email": "grace@halden.example", "email_verified": true,
    });
    (told.change)(&mut header, &mut claims);
    match told.forge {
        Forge::Unsigned => header["alg"] = "none".into(),
        Forge::Hmac => header["alg"] = "HS256".into(),
        Forge::No | Forge::OtherKey => {}
    }
    let said = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = match told.forge {
        Forge::Unsigned => String::new(),
        Forge::Hmac => {
            let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"provider-secret-0815");
            b64(ring::hmac::sign(&secret, said.as_bytes()))
        }
        Forge::No => b64(own.key.sign(&SystemRandom::new(), said.as_bytes()).unwrap()),
        Forge::OtherKey => b64(own.other.sign(&SystemRandom::new(), said.as_bytes()).unwrap()),
    };
    format!("{said}.{signature}")
}

/// Goes there and comes back with a token as told.
async fn tried(server: &Server, own: &Own, change: Change, forge: Forge) -> (u16, String) {
    let client = server.client();
    let gone = client.get("/sign-in/sso").await;
    assert_eq!(gone.status, 303, "{}", text(&gone));
    let said = url::Url::parse(gone.location()).unwrap();
    let of = |name: &str| said.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
    {
        let mut told = own.told.lock().unwrap();
        (told.nonce, told.change, told.forge) = (of("nonce"), change, forge);
    }
    let back = format!("{}?code=c&state={}", of("redirect_uri"), of("state"));
    let answer = client.get(&here(server, &back)).await;
    (answer.status, text(&answer))
}

// security-cases row 30
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_client_issuer_nonce_time_or_key_signs_nobody_in() {
    let (server, ada) = ready().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let told = Told {
        issuer: issuer.clone(),
        nonce: String::new(),
        change: |_, _| {},
        forge: Forge::No,
        informs_of: "grace",
    };
    let own = Own { told: Arc::new(Mutex::new(told)), key: key(), other: key() };
    let shared = own.clone();
    let running = HttpServer::new(move || {
        App::new().app_data(web::Data::new(shared.clone())).default_service(web::to(answer))
    });
    let running = running.workers(1).listen(listener).unwrap().run();
    let handle = running.handle();
    tokio::spawn(running);
    let saved = ada.post("/admin/sso", &settings(&issuer, &[("join", "yes")])).await;
    assert_eq!(saved.status, 200, "{}", text(&saved));
    let bad: [(&str, Change, Forge); 18] = [
        ("audience", |_, c| c["aud"] = "another-client".into(), Forge::No),
        ("no audience", |_, c| c["aud"] = json!([]), Forge::No),
        ("a second audience", |_, c| c["aud"] = json!(["vynos", "another-client"]), Forge::No),
        ("authorised party", |_, c| c["azp"] = "another-client".into(), Forge::No),
        ("issuer", |_, c| c["iss"] = "https://evil.example".into(), Forge::No),
        (
            "issuer with a slash",
            |_, c| c["iss"] = format!("{}/", c["iss"].as_str().unwrap()).into(),
            Forge::No,
        ),
        ("nonce", |_, c| c["nonce"] = "another".into(), Forge::No),
        ("no nonce", |_, c| drop(c.as_object_mut().unwrap().remove("nonce")), Forge::No),
        ("expired", |_, c| c["exp"] = json!(c["exp"].as_i64().unwrap() - 120), Forge::No),
        ("no end", |_, c| drop(c.as_object_mut().unwrap().remove("exp")), Forge::No),
        ("from tomorrow", |_, c| c["iat"] = json!(c["iat"].as_i64().unwrap() + 86_400), Forge::No),
        ("no subject", |_, c| drop(c.as_object_mut().unwrap().remove("sub")), Forge::No),
        ("another access token", |_, c| c["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA".into(), Forge::No),
        ("unknown key", |h, _| h["kid"] = "unknown".into(), Forge::OtherKey),
        ("another key", |_, _| {}, Forge::OtherKey),
        ("unsigned", |_, _| {}, Forge::Unsigned),
        ("the secret as key", |_, _| {}, Forge::Hmac),
        ("critical header", |h, _| h["crit"] = json!(["b64"]), Forge::No),
    ];
    for (what, change, forge) in bad {
        let (status, body) = tried(&server, &own, change, forge).await;
        assert_eq!(status, 401, "{what}: {body}");
        assert!(body.contains("does not prove who signed in"), "{what}: {body}");
    }
    let email = "grace@halden.example".parse().unwrap();
    assert!(server.app().web.control.account_by_address(&email).unwrap().is_none(), "nobody joined");
    // As it should be, the same token signs in.
    let (status, body) = tried(&server, &own, |_, c| c["azp"] = "vynos".into(), Forge::No).await;
    assert_eq!(status, 303, "{body}");
    assert!(server.app().web.control.account_by_address(&email).unwrap().is_some());
    // Unverified, the address counts for nothing; without one nobody is found.
    let (status, body) =
        tried(&server, &own, |_, c| (c["sub"], c["email_verified"]) = ("x".into(), "true".into()), Forge::No)
            .await;
    assert!(status == 401 || status == 403, "a text is no yes: {status} {body}");
    // What the user info endpoint says counts only for the person of the token.
    let small: Change = |_, c| drop(c.as_object_mut().unwrap().remove("email"));
    let (status, body) = tried(&server, &own, small, Forge::No).await;
    assert_eq!(status, 303, "{body}");
    own.told.lock().unwrap().informs_of = "ada";
    let (status, body) = tried(&server, &own, small, Forge::No).await;
    assert!(status == 401 && body.contains("user info"), "{status} {body}");
    handle.stop(false).await;
}
