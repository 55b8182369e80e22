//! A real bound server on a data directory of its own, and a client that keeps cookies like a browser.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use vynos::app::{App, Options, TlsMode};
use vynos::clock::{Clock, Random};
use vynos::seal::{MasterKey, Secret};

pub const PASSWORD: &str = "copper kettle morning";
/// What asks the test servers for `/metrics`.
pub const METRICS_TOKEN: &str = "a-token-for-metrics-of-the-tests";

pub struct Server {
    pub app: Option<App>,
    pub clock: Clock,
    pub dir: tempfile::TempDir,
    pub base: String,
    pub setup_code: String,
}

pub fn options(dir: &std::path::Path, clock: Clock) -> Options {
    Options {
        data_dir: dir.join("data"),
        master_key_file: dir.join("master.key"),
        metrics_token: Some(Secret::new(METRICS_TOKEN.into())),
        listen: "127.0.0.1:0".parse().unwrap(),
        external_url: None,
        tls: TlsMode::Plain,
        behind_proxy: false,
        demo: false,
        extra_salesforce: Vec::new(),
        program: Some(env!("CARGO_BIN_EXE_vynos").into()),
        workers: Some(2),
        clock,
        random: Random::system(),
    }
}

impl Server {
    /// A new instance that nobody has set up.
    pub async fn fresh() -> Self {
        let dir = tempfile::tempdir().unwrap();
        MasterKey::create(&dir.path().join("master.key")).unwrap();
        Self::on(dir, Clock::manual("2026-11-23T09:00:00Z".parse().unwrap())).await
    }

    /// An instance on data that may be there already.
    pub async fn on(dir: tempfile::TempDir, clock: Clock) -> Self {
        let app = App::start(options(dir.path(), clock.clone())).await.unwrap();
        let setup_code = app.setup_code.as_ref().map(|c| c.expose().to_owned()).unwrap_or_default();
        let base = app.url.as_str().trim_end_matches('/').to_owned();
        Self { app: Some(app), clock, dir, base, setup_code }
    }

    /// An instance whose owner Ada has ended the wizard; the client is hers.
    pub async fn ready() -> (Self, Client) {
        let server = Self::fresh().await;
        let ada = server.set_up().await;
        (server, ada)
    }

    /// Ends the wizard as Ada.
    pub async fn set_up(&self) -> Client {
        let ada = self.set_up_to_mail().await;
        assert_eq!(ada.post("/setup/mail/next", &[]).await.status, 303);
        assert_eq!(ada.post("/setup/workspace", &[("name", "Halden Energy")]).await.status, 303);
        ada
    }

    /// The wizard as Ada, up to the step for mail.
    pub async fn set_up_to_mail(&self) -> Client {
        self.set_up_with_code().await.0
    }

    /// The same, with the recovery code that it showed.
    pub async fn set_up_with_code(&self) -> (Client, String) {
        let ada = self.client();
        let account = [
            ("code", self.setup_code.as_str()),
            ("name", "Ada Lovelace"),
            ("email", "ada@halden.example"),
            ("password", PASSWORD),
        ];
        assert_eq!(ada.post("/setup/account", &account).await.status, 303);
        assert_eq!(ada.post("/setup/address", &[]).await.status, 303);
        let shown = ada.post("/setup/recovery", &[]).await;
        let groups: Vec<String> =
            shown.all_between("<li>", "</li>").into_iter().filter(|g| g.len() == 4).collect();
        let check = [("group", groups[5].as_str()), ("saved", "yes")];
        assert_eq!(ada.post("/setup/recovery/check", &check).await.status, 303);
        assert_eq!(ada.post("/setup/model/next", &[]).await.status, 303);
        (ada, groups.join("-"))
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().unwrap()
    }

    pub fn client(&self) -> Client {
        Client::new(self.base.clone())
    }

    /// Stops the process as SIGTERM does and hands back its directory.
    pub async fn stop(mut self) -> (tempfile::TempDir, Clock) {
        self.app.take().unwrap().stop(Duration::from_secs(20)).await;
        (self.dir, self.clock)
    }
}

/// One browser.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    http: reqwest::Client,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
    csrf: Arc<Mutex<String>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "a test's own browser, not the product's way out")]
    pub fn new(base: String) -> Self {
        vynos::app::install_crypto();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, http, cookies: Arc::default(), csrf: Arc::default() }
    }

    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let cookies = self.cookies.lock().unwrap();
        let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self
            .http
            .request(method.parse().unwrap(), format!("{}{path}", self.base))
            .header("accept", "text/html");
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        request
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let mut cookies = self.cookies.lock().unwrap();
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let answer = Answer { status, headers, body: answer.text().await.unwrap() };
        if let Some(csrf) = answer.between("name=\"csrf\" value=\"", "\"") {
            *self.csrf.lock().unwrap() = csrf;
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// Posts a form with the key of the session, as a page of the session would.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        if self.csrf.lock().unwrap().is_empty() && !self.cookies.lock().unwrap().is_empty() {
            for page in ["/account/profile", "/setup"] {
                self.get(page).await;
            }
        }
        let csrf = self.csrf.lock().unwrap().clone();
        let mut fields = fields.to_vec();
        fields.push(("csrf", &csrf));
        self.send(self.request("POST", path).form(&fields)).await
    }

    pub fn forget_csrf(&self) {
        self.csrf.lock().unwrap().clear();
    }

    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().unwrap().clone()
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.send(self.request("POST", "/sign-in").form(&[("email", email), ("password", password)])).await
    }
}

impl Answer {
    pub fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    pub fn between(&self, start: &str, end: &str) -> Option<String> {
        self.all_between(start, end).into_iter().next()
    }

    pub fn all_between(&self, start: &str, end: &str) -> Vec<String> {
        self.body
            .split(start)
            .skip(1)
            .filter_map(|rest| rest.split_once(end))
            .map(|(a, _)| a.to_owned())
            .collect()
    }
}
