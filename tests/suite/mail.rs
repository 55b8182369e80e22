//! Mail against a server by others (aiosmtpd): TLS, STARTTLS, and each way a server says no.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use vynos::egress::{Line, Purpose};
use vynos::ledger::LINES;
use vynos::mail::MAIL_SERVER;
use vynos::store::Read as _;
use vynos::store::audit::{AUDIT, Action};

use crate::harness::{Answer, Client, Server};
use crate::unreadable_disk::holding;

pub const RELAY_PASSWORD: &str = "relay kettle";

/// The mail server, ended when dropped.
pub struct Relay {
    process: Child,
    lines: BufReader<ChildStdout>,
    pub port: u16,
    certificate: String,
    dir: tempfile::TempDir,
}

impl Relay {
    fn start(security: &str, refuse: &str) -> Self {
        Self::with(security, &["--refuse", refuse])
    }

    /// With what the fixture takes besides.
    pub fn with(security: &str, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(dir.path().join("certificate.pem"), &certificate).unwrap();
        std::fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        Self::run(security, options, certificate, dir)
    }

    /// Ends the server, does what is to be done without it, and starts it again on its port.
    pub async fn down_during(mut self, what: impl Future<Output = ()>) -> Self {
        let port = self.port.to_string();
        let _ = self.process.kill();
        let _ = self.process.wait();
        what.await;
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Self::run("tls", &["--port", &port], self.certificate.clone(), dir)
    }

    fn run(security: &str, options: &[&str], certificate: String, dir: tempfile::TempDir) -> Self {
        let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/smtp");
        assert!(
            cache.join("ready").exists(),
            "tests/.cache/smtp is missing: run tests/run, which fetches it"
        );
        let mut process = Command::new(cache.join("v/bin/python"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/smtp/server.py"))
            .args(["--security", security])
            .args(options)
            .arg("--certificate")
            .arg(dir.path().join("certificate.pem"))
            .arg("--key")
            .arg(dir.path().join("key.pem"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let port = next_line(&mut lines)["port"].as_u64().unwrap() as u16;
        Self { process, lines, port, certificate, dir }
    }

    /// The next mail that it took.
    pub fn mail(&mut self) -> Value {
        next_line(&mut self.lines)
    }

    /// Lets the instance send through it.
    pub async fn keep(&self, operator: &Client) {
        let port = self.port.to_string();
        let mut form = filled(self, &port, "tls");
        form.retain(|(name, _)| *name != "act");
        form.push(("act", "save"));
        let answer = operator.post("/admin/mail", &form).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn next_line(lines: &mut BufReader<ChildStdout>) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

/// The form as a person fills it for `relay`.
pub fn filled<'a>(relay: &'a Relay, port: &'a str, security: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("host", "localhost"),
        ("port", port),
        ("security", security),
        ("user", "vynos"),
        ("password", RELAY_PASSWORD),
        ("sender", "Vynos <vynos@halden.example>"),
        ("ca", &relay.certificate),
        ("act", "test"),
    ]
}

async fn tried(client: &Client, relay: &Relay, security: &str, other: &[(&'static str, &str)]) -> Answer {
    let port = relay.port.to_string();
    let mut form: Vec<(&str, &str)> = filled(relay, &port, security);
    for (field, value) in other {
        form.retain(|(name, _)| name != field);
        form.push((field, value));
    }
    client.post("/admin/mail", &form).await
}

pub fn text(answer: &Answer) -> String {
    answer.body.replace("&#39;", "'").replace("&#34;", "\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_mail_goes_out_under_tls_and_starttls_and_the_server_is_kept() {
    for security in ["tls", "start_tls"] {
        let (server, ada) = Server::ready().await;
        let mut relay = Relay::start(security, "");
        let answer = tried(&ada, &relay, security, &[]).await;
        assert_eq!(answer.status, 200, "{}", text(&answer));
        assert!(answer.body.contains("2.0.0 Queued as 4711"), "the server's own words");
        assert!(!answer.body.contains(RELAY_PASSWORD));
        let mail = relay.mail();
        assert_eq!(
            (&mail["from"], &mail["to"][0]),
            (&"vynos@halden.example".into(), &"ada@halden.example".into())
        );
        assert_eq!((&mail["user"], &mail["hello"]), (&"vynos".into(), &"localhost".into()));
        let content = mail["content"].as_str().unwrap();
        assert!(content.contains("text/plain") && content.contains("text/html"), "{content}");
        assert!(content.contains("Auto-Submitted: auto-generated") && content.len() < 20_000);
        // The password is kept for the same server and user, and asked again for another one.
        assert_eq!(tried(&ada, &relay, security, &[("password", "")]).await.status, 200);
        assert_eq!(relay.mail()["user"], "vynos");
        let other = tried(&ada, &relay, security, &[("password", ""), ("host", "127.0.0.1")]).await;
        assert_eq!(other.status, 422, "a saved password goes to no other server");
        let control = server.app().web.control.clone();
        assert_eq!(control.read().unwrap().get(&MAIL_SERVER, &0).unwrap().unwrap().port, relay.port);
        let audited = control.read().unwrap().scan(&AUDIT).rows().unwrap();
        assert_eq!(audited.iter().filter(|(_, line)| line.action == Action::MailChanged).count(), 2);
        drop(control);
        let (dir, clock) = server.stop().await;
        assert!(holding(&dir.path().join("data"), RELAY_PASSWORD).is_empty());
        // After a start it is still allowed through the gate; removed, it is forgotten.
        let server = Server::on(dir, clock).await;
        let lines: Vec<Line> = {
            let read = server.app().web.control.read().unwrap();
            read.scan(&LINES).rows().unwrap().into_iter().map(|(_, line)| line).collect()
        };
        let sent =
            lines.iter().find(|line| line.purpose == Purpose::Mail && line.status == Some(250)).unwrap();
        assert_eq!((sent.host.as_str(), sent.method.as_str()), ("localhost", "SMTP"));
        assert!(sent.account.is_some() && sent.sent_bytes > 1_000 && sent.received_bytes > 100, "{sent:?}");
        let ada = server.client();
        ada.sign_in("ada@halden.example", crate::harness::PASSWORD).await;
        assert!(ada.get("/admin/mail").await.body.contains("value=\"vynos\""));
        assert_eq!(ada.post("/admin/mail/remove", &[]).await.status, 303);
        assert!(ada.get("/admin/mail").await.body.contains("No mail server is configured"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_told_in_the_servers_own_words_and_nothing_is_saved() {
    let (server, ada) = Server::ready().await;
    let relay = Relay::start("tls", "ada@halden.example");
    let refused = tried(&ada, &relay, "tls", &[]).await;
    assert_eq!(refused.status, 422);
    assert!(text(&refused).contains("refused the recipient: “550 5.1.1 No such mailbox in this house”"));
    let login = tried(&ada, &relay, "tls", &[("password", "wrong")]).await;
    assert!(text(&login).contains("refused the sign-in: “535 5.7.8 The relay does not know this pair”"));
    assert!(login.body.contains("href=\"#user\"") && !login.body.contains("value=\"wrong\""));
    let untrusted = tried(&ada, &relay, "tls", &[("ca", "")]).await;
    assert!(text(&untrusted).contains("certificate of localhost is not trusted"), "{}", text(&untrusted));
    let relay = Relay::start("start_tls", "vynos@halden.example");
    let sender = tried(&ada, &relay, "start_tls", &[]).await;
    assert!(text(&sender).contains("refused the sender: “553 5.7.1 This sender may not send here”"));
    let untrusted = tried(&ada, &relay, "start_tls", &[("ca", "")]).await;
    assert!(text(&untrusted).contains("certificate of localhost is not trusted"), "{}", text(&untrusted));
    let crossed = tried(&ada, &relay, "tls", &[]).await;
    assert!(text(&crossed).contains("broke the conversation off"), "{}", text(&crossed));
    let clear = Relay::start("clear", "");
    let clear = tried(&ada, &clear, "start_tls", &[]).await;
    assert!(
        text(&clear).contains("does not offer STARTTLS") && text(&clear).contains("No password was sent")
    );
    // A port that was free a moment ago: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let nobody = tried(&ada, &relay, "tls", &[("port", &free)]).await;
    assert!(text(&nobody).contains("localhost can't be reached"), "{}", text(&nobody));
    let link_local = tried(&ada, &relay, "tls", &[("host", "169.254.169.254")]).await;
    assert!(text(&link_local).contains("may not be reached"), "{}", text(&link_local));
    for (field, bad) in [("host", "a b"), ("port", "0"), ("sender", "nobody"), ("ca", "x"), ("user", "")] {
        let answer = tried(&ada, &relay, "tls", &[(field, bad)]).await;
        assert!(answer.status == 422 && answer.body.contains(&format!("href=\"#{field}\"")), "{field}");
    }
    let control = server.app().web.control.clone();
    assert!(control.read().unwrap().get(&MAIL_SERVER, &0).unwrap().is_none());
}

/// A server (or somebody on the way) that sends more in clear behind its answer to STARTTLS.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_clear_behind_starttls_never_counts() {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
    let (_server, ada) = Server::ready().await;
    let relay = Relay::start("start_tls", "");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port().to_string(), relay.port);
    let between = tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
        let (from_server, mut to_server) = server.into_split();
        let (from_client, mut to_client) = client.into_split();
        let mut from_server = tokio::io::BufReader::new(from_server).lines();
        let mut from_client = tokio::io::BufReader::new(from_client);
        while let Some(said) = from_server.next_line().await.unwrap() {
            if said.starts_with("220 Ready") {
                // In one write, so that one read brings both.
                let more = format!("{said}\r\n250-evil\r\n250 AUTH PLAIN\r\n");
                to_client.write_all(more.as_bytes()).await.unwrap();
                // From here on it only hands on, as somebody would who wants the sign-in to happen.
                let mut from_server = from_server.into_inner();
                let up = tokio::io::copy(&mut from_client, &mut to_server);
                let down = tokio::io::copy(&mut from_server, &mut to_client);
                tokio::select! { _ = up => {}, _ = down => {} }
                return;
            }
            to_client.write_all(format!("{said}\r\n").as_bytes()).await.unwrap();
            if said.as_bytes()[3] == b' ' {
                let mut line = String::new();
                from_client.read_line(&mut line).await.unwrap();
                to_server.write_all(line.as_bytes()).await.unwrap();
            }
        }
        panic!("the server ended before STARTTLS");
    });
    let answer = tried(&ada, &relay, "start_tls", &[("port", &port)]).await;
    assert_eq!(answer.status, 422, "{}", text(&answer));
    assert!(text(&answer).contains("broke the conversation off"), "{}", text(&answer));
    between.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wizard_sends_a_test_mail_or_goes_on_without_mail() {
    let server = Server::fresh().await;
    let ada = server.set_up_to_mail().await;
    let page = ada.get("/setup").await;
    assert!(page.body.contains("Go on without mail") && page.body.contains("ada@halden.example"));
    let mut relay = Relay::start("start_tls", "");
    let port = relay.port.to_string();
    let mut wrong = filled(&relay, &port, "start_tls");
    wrong.retain(|(name, _)| *name != "password");
    wrong.push(("password", "wrong"));
    let refused = ada.post("/setup/mail", &wrong).await;
    assert!(refused.status == 422 && text(&refused).contains("535 5.7.8"), "{}", text(&refused));
    let taken = ada.post("/setup/mail", &filled(&relay, &port, "start_tls")).await;
    assert!(taken.status == 200 && taken.body.contains("Queued as 4711"), "{}", text(&taken));
    assert!(taken.body.contains("Continue"));
    assert_eq!(relay.mail()["to"][0], "ada@halden.example");
    assert_eq!(ada.post("/setup/mail/next", &[]).await.status, 303);
    assert!(ada.get("/setup").await.body.contains("Name your workspace"));
    assert_eq!(ada.post("/setup/mail/next", &[]).await.status, 409, "a step is done once");
}
