//! A headless Chromium, driven over the W3C WebDriver protocol. The driver ends with the value.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    script: bool,
    _profile: tempfile::TempDir,
    /// Kept open: the driver would stop at its next line otherwise.
    _out: BufReader<ChildStdout>,
}

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    /// Starts a browser of this size, with or without JavaScript.
    #[expect(clippy::disallowed_methods, reason = "speaks to the driver on this machine")]
    pub async fn start(width: u32, height: u32, script: bool) -> Self {
        vynos::app::install_crypto();
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is needed: tests/run installs it");
        let mut out = BufReader::new(driver.stdout.take().unwrap());
        let port = out
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split("successfully on port ").nth(1).map(|p| p.trim_end_matches('.').to_owned())
            })
            .expect("chromedriver tells its port");
        let profile = tempfile::tempdir().unwrap();
        let args = [
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--disable-quic".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--hide-scrollbars".into(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let scripts = if script { 1 } else { 2 };
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": {
                "args": args,
                "prefs": { "profile.managed_default_content_settings.javascript": scripts },
            },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().unwrap();
        let base = format!("http://127.0.0.1:{port}/session");
        let answer: Value = http.post(&base).json(&wanted).send().await.unwrap().json().await.unwrap();
        let id = answer["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}"));
        let browser =
            Self { driver, http, session: format!("{base}/{id}"), script, _profile: profile, _out: out };
        browser.post("window/rect", json!({ "width": width, "height": height })).await;
        browser
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer: Value = self.http.post(&url).json(&body).send().await.unwrap().json().await.unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path} {body}: {value}");
        value
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer: Value = self.http.get(&url).send().await.unwrap().json().await.unwrap();
        answer["value"].clone()
    }

    pub async fn goto(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    pub async fn url(&self) -> String {
        self.get("url").await.as_str().unwrap().to_owned()
    }

    /// Waits until an element is there.
    pub async fn find(&self, css: &str) -> String {
        for _ in 0..400 {
            let url = format!("{}/elements", self.session);
            let body = json!({ "using": "css selector", "value": css });
            let answer: Value = self.http.post(&url).json(&body).send().await.unwrap().json().await.unwrap();
            if let Some(id) = answer["value"][0][ELEMENT].as_str() {
                return id.to_owned();
            }
            tokio::time::timeout(Duration::from_millis(25), std::future::pending::<()>()).await.ok();
        }
        panic!("{css} never came: {} at {}", self.text("body").await, self.url().await);
    }

    /// Waits until a script answers with something true.
    pub async fn wait(&self, script: &str) {
        for _ in 0..400 {
            if self.run(script).await == true {
                return;
            }
            tokio::time::timeout(Duration::from_millis(25), std::future::pending::<()>()).await.ok();
        }
        panic!("never true: {script} at {}: {}", self.url().await, self.text("body").await);
    }

    pub async fn text(&self, css: &str) -> String {
        let url = format!("{}/element", self.session);
        let body = json!({ "using": "css selector", "value": css });
        let answer: Value = self.http.post(&url).json(&body).send().await.unwrap().json().await.unwrap();
        let id = answer["value"][ELEMENT].as_str().unwrap_or_default();
        self.get(&format!("element/{id}/text")).await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn click(&self, css: &str) {
        let id = self.find(css).await;
        if self.script {
            // Bars that stick to an edge would be in the way of a click there.
            let body = json!({ "script": "arguments[0].scrollIntoView({block: 'center'})", "args": [{ ELEMENT: id }] });
            self.post("execute/sync", body).await;
        }
        self.post(&format!("element/{id}/click"), json!({})).await;
    }

    pub async fn type_into(&self, css: &str, text: &str) {
        let id = self.find(css).await;
        self.post(&format!("element/{id}/clear"), json!({})).await;
        self.post(&format!("element/{id}/value"), json!({ "text": text })).await;
    }

    /// Chooses a file in a file field.
    pub async fn upload(&self, css: &str, path: &str) {
        let id = self.find(css).await;
        self.post(&format!("element/{id}/value"), json!({ "text": path })).await;
    }

    /// Presses keys where the focus is.
    pub async fn keys(&self, text: &str) {
        let actions: Vec<Value> = text
            .chars()
            .flat_map(|c| {
                [
                    json!({ "type": "keyDown", "value": c.to_string() }),
                    json!({ "type": "keyUp", "value": c.to_string() }),
                ]
            })
            .collect();
        self.post("actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }))
            .await;
    }

    /// Opens one more tab and goes on in it; answers the tab before and the new one.
    pub async fn new_tab(&self) -> (String, String) {
        let before = self.get("window").await.as_str().unwrap().to_owned();
        let made = self.post("window/new", json!({ "type": "tab" })).await;
        let new = made["handle"].as_str().unwrap().to_owned();
        self.switch(&new).await;
        (before, new)
    }

    pub async fn switch(&self, tab: &str) {
        self.post("window", json!({ "handle": tab })).await;
    }

    /// Makes the page narrower than a window may be, as a phone or 400 % zoom does.
    pub async fn narrow(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Gives the browser a passkey provider of its own, whose person is at hand and known to it; answers its id.
    pub async fn authenticator(&self) -> String {
        self.devtools("WebAuthn.enable", json!({})).await;
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        });
        let made = self.devtools("WebAuthn.addVirtualAuthenticator", json!({ "options": options })).await;
        made["authenticatorId"].as_str().unwrap().to_owned()
    }

    /// Whether the person touches the authenticator when asked.
    pub async fn touches(&self, authenticator: &str, touches: bool) {
        let to = json!({ "authenticatorId": authenticator, "enabled": touches });
        self.devtools("WebAuthn.setAutomaticPresenceSimulation", to).await;
    }

    /// The person fails to show who they are from now on.
    pub async fn unverified(&self, authenticator: &str) {
        let to = json!({ "authenticatorId": authenticator, "isUserVerified": false });
        self.devtools("WebAuthn.setUserVerified", to).await;
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs a script that calls its last argument when it is done.
    pub async fn run_async(&self, script: &str) -> Value {
        self.post("execute/async", json!({ "script": script, "args": [] })).await
    }

    /// What the console said since the last look: errors and reports of the content security policy.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.post("se/log", json!({ "type": "browser" })).await;
        let all = entries.as_array().cloned().unwrap_or_default();
        all.iter()
            .filter(|e| e["level"] != "INFO" && e["level"] != "DEBUG")
            .map(|e| e["message"].to_string())
            .collect()
    }

    /// A picture of the window, for people who want to look: only written when `VYNOS_TEST_PICTURES` names
    /// a directory.
    pub async fn picture(&self, name: &str) {
        use base64::Engine as _;
        let Ok(dir) = std::env::var("VYNOS_TEST_PICTURES") else { return };
        let png = self.get("screenshot").await;
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = Command::new("pkill").args(["-P", &self.driver.id().to_string()]).status();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
