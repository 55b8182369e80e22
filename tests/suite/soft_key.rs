//! An authenticator in software that also lies on request: every part of its answers can be made wrong. Speaks
//! WebAuthn's own formats (Level 3, sections 6.1 and 6.5), with a P-256 key and no attestation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

pub const PRESENT: u8 = 1;
pub const VERIFIED: u8 = 4;
const WITH_CREDENTIAL: u8 = 0x40;

/// A passkey, and what its next answers say.
pub struct SoftKey {
    pair: EcdsaKeyPair,
    pub id: Vec<u8>,
    pub handle: Option<Vec<u8>>,
    pub site: String,
    pub origin: String,
    pub counter: u32,
    pub flags: u8,
    pub kind: &'static str,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SoftKey {
    /// A key that knows nobody yet, in a browser at this origin.
    pub fn new(origin: &str, id: u8) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self {
            pair,
            id: vec![id; 32],
            handle: None,
            site: "localhost".into(),
            origin: origin.into(),
            counter: 0,
            flags: PRESENT | VERIFIED,
            kind: "webauthn.get",
        }
    }

    fn client_data(&self, kind: &str, begun: &Value) -> Vec<u8> {
        let challenge = &begun["options"]["publicKey"]["challenge"];
        let data =
            json!({ "type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false });
        data.to_string().into_bytes()
    }

    fn head(&self, flags: u8) -> Vec<u8> {
        let mut head = digest(&SHA256, self.site.as_bytes()).as_ref().to_vec();
        head.push(flags);
        head.extend(self.counter.to_be_bytes());
        head
    }

    /// Answers `navigator.credentials.create`.
    pub fn made(&mut self, begun: &Value) -> String {
        let user = begun["options"]["publicKey"]["user"]["id"].as_str().unwrap();
        self.handle = Some(URL_SAFE_NO_PAD.decode(user).unwrap());
        let mut data = self.head(self.flags | WITH_CREDENTIAL);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        // COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
        let point = self.pair.public_key().as_ref();
        data.extend([0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32]);
        data.extend(&point[1..33]);
        data.extend([0x22, 0x58, 32]);
        data.extend(&point[33..65]);
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        let response = json!({
            "attestationObject": text(&object),
            "clientDataJSON": text(&self.client_data("webauthn.create", begun)),
        });
        json!({ "id": text(&self.id), "rawId": text(&self.id), "type": "public-key", "response": response })
            .to_string()
    }

    /// Answers `navigator.credentials.get`, counting up.
    pub fn proof(&mut self, begun: &Value) -> String {
        self.counter += 1;
        self.proof_as_is(begun)
    }

    /// The same without counting.
    pub fn proof_as_is(&self, begun: &Value) -> String {
        let (client, data) = (self.client_data(self.kind, begun), self.head(self.flags));
        let signed = [&data[..], digest(&SHA256, &client).as_ref()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        let response = json!({
            "authenticatorData": text(&data),
            "clientDataJSON": text(&client),
            "signature": text(signature.as_ref()),
            "userHandle": self.handle.as_deref().map(text),
        });
        json!({ "id": text(&self.id), "rawId": text(&self.id), "type": "public-key", "response": response })
            .to_string()
    }
}
