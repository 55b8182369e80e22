//! The whole process: start with 100 workspaces, memory, and a signed-in page against a bare handler that returns
//! the same bytes.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App as ActixApp, HttpResponse, HttpServer, web};
use vynos::app::{App, Options, TlsMode};
use vynos::clock::{Clock, Random};
use vynos::identity::control::Note;
use vynos::identity::sessions::Origin;
use vynos::identity::{Control, Scope};
use vynos::models::Entered;
use vynos::people::create_workspace;
use vynos::seal::{MasterKey, Secret};
use vynos::store::audit::{Action, Actor};
use vynos::wire::model::{Auth, Profile};

use super::median;

const WORKSPACES: usize = 100;
const OPENED: usize = 10;
const ROWS: usize = 20;
const CONNECTIONS: usize = 16;
const ROUND: Duration = Duration::from_secs(3);

pub struct Prepared {
    pub dir: tempfile::TempDir,
    tokens: Vec<String>,
    /// A token that may chat.
    pub chat: String,
    cookie: String,
}

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let prepared = runtime.block_on(prepare(None));
    let mut ready = Vec::new();
    let ms = median(|| {
        let (served, took) = serve(prepared.dir.path(), &runtime);
        ready.push(memory(&served.child));
        took.as_secs_f64() * 1e3
    });
    println!(
        "start: first 200 with {WORKSPACES} workspaces after {ms:.0} ms (under 300), {:.1} MB resident then",
        ready[2]
    );
    let (served, _) = serve(prepared.dir.path(), &runtime);
    runtime.block_on(async {
        for token in &prepared.tokens {
            let answer =
                client().get(format!("{}/api/v1/orgs", served.url)).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    });
    println!(
        "memory: {:.1} MB resident with {WORKSPACES} workspaces on disk, {OPENED} opened (under 40)",
        memory(&served.child)
    );
    let page = format!("{}/w/w0/tokens", served.url);
    let body = runtime.block_on(async {
        let answer = client().get(&page).header("cookie", &prepared.cookie).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    });
    assert!(body.matches("/revoke").count() >= ROWS, "the page has its rows");
    let file = prepared.dir.path().join("page.html");
    std::fs::write(&file, &body).unwrap();
    let bare = BareHandler::start(&file);
    let ours = median(|| runtime.block_on(rate(&page, &prepared.cookie)));
    let plain = median(|| runtime.block_on(rate(&bare.url, "")));
    println!(
        "page: {} bytes, {ours:.0} requests/s over {CONNECTIONS} connections, bare handler {plain:.0}, ratio {:.2} (at least 0.5)",
        body.len(),
        ours / plain
    );
}

/// A data directory with its workspaces; `model` is an endpoint to answer from.
pub async fn prepare(model: Option<&str>) -> Prepared {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        master_key_file: dir.path().join("master.key"),
        metrics_token: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        external_url: None,
        tls: TlsMode::Plain,
        behind_proxy: false,
        demo: false,
        extra_salesforce: Vec::new(),
        program: None,
        workers: Some(1),
        clock: Clock::system(),
        random: Random::system(),
    };
    let app = App::start(options).await.unwrap();
    let control = &app.web.control;
    let new = Control::prepare_account(
        "ada@halden.example",
        "Ada",
        &Secret::new("copper kettle morning".into()),
        true,
    )
    .unwrap();
    let account = control
        .change_now(Note::new(Actor::Operator, Action::InstanceSetUp, "bench"), |tx| {
            control.insert_account(tx, new)
        })
        .unwrap();
    let mut tokens = Vec::new();
    // The page is that of a person with one workspace; the others are somebody else's.
    let new = Control::prepare_account(
        "eve@halden.example",
        "Eve",
        &Secret::new("copper kettle morning".into()),
        false,
    )
    .unwrap();
    let eve = control
        .change_now(Note::new(Actor::Operator, Action::AccountChanged, "bench"), |tx| {
            control.insert_account(tx, new)
        })
        .unwrap();
    for n in 0..WORKSPACES {
        let account = if n == 0 { account } else { eve };
        let row = create_workspace(&app.web, Actor::Operator, account, &format!("W{n}"), None).unwrap();
        let (id, _) = control.workspace_by_slug(&row.slug).unwrap().unwrap();
        let many = if n == 0 { ROWS } else { 1 };
        for nth in 0..many {
            let name = format!("token {nth}");
            let made =
                control.create_token(Actor::Operator, account, id, &name, vec![Scope::Read], None).unwrap();
            if nth == 0 && n < OPENED {
                tokens.push(made.0.expose().to_owned());
            }
        }
    }
    let (first, _) = control.workspace_by_slug("w0").unwrap().unwrap();
    let chat =
        control.create_token(Actor::Operator, account, first, "chat", Scope::ALL.to_vec(), None).unwrap();
    let chat = chat.0.expose().to_owned();
    if let Some(url) = model {
        let entered = Entered {
            base_url: url.parse().unwrap(),
            model: "m".into(),
            auth: Auth::None,
            key: None,
            profile: Profile::Anthropic,
        };
        app.models.save(Actor::Operator, &entered, None).unwrap();
    }
    control.change_settings(Actor::Operator, |settings| settings.set_up = true).unwrap();
    let from = Origin { address: "127.0.0.1".into(), user_agent: "bench".into(), request: None };
    let session = control.start_session(account, from).unwrap();
    let cookie = format!("vynos={}", session.expose());
    app.stop(Duration::from_secs(20)).await;
    Prepared { dir, tokens, chat, cookie }
}

pub struct Served {
    pub child: Child,
    pub url: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the built program, until its first 200.
pub fn serve(dir: &Path, runtime: &tokio::runtime::Runtime) -> (Served, Duration) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vynos"))
        .arg("serve")
        .arg("--data-dir")
        .arg(dir.join("data"))
        .arg("--master-key-file")
        .arg(dir.join("master.key"))
        .args(["--behind-proxy", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--external-url", &format!("http://localhost:{port}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split_whitespace().nth(1).unwrap().trim_end_matches('/').to_owned();
    runtime.block_on(async {
        let answer = client().get(format!("{url}/healthz")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    });
    (Served { child, url }, began.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "the load of a measurement, not the product's way out")]
pub fn client() -> reqwest::Client {
    vynos::app::install_crypto();
    reqwest::Client::builder().build().unwrap()
}

/// Resident megabytes of a process.
pub fn memory(child: &Child) -> f64 {
    resident(child.id())
}

/// The same by its number.
pub fn resident(id: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Answered requests a second.
async fn rate(url: &str, cookie: &str) -> f64 {
    let (client, done) = (client(), Arc::new(AtomicU64::new(0)));
    let until = Instant::now() + ROUND;
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, done, url, cookie) =
                (client.clone(), Arc::clone(&done), url.to_owned(), cookie.to_owned());
            tokio::spawn(async move {
                while Instant::now() < until {
                    let answer = client.get(&url).header("cookie", &cookie).send().await.unwrap();
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / ROUND.as_secs_f64()
}

struct BareHandler {
    child: Child,
    url: String,
}

impl Drop for BareHandler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl BareHandler {
    fn start(file: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["bare-handler", file.to_str().unwrap(), &port.to_string()])
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Self { child, url }
    }
}

/// The baseline: the bytes of a file, by a handler that does nothing else, in a process of its own.
pub fn bare(file: &str, port: u16) {
    let body = web::Bytes::from(std::fs::read(file).unwrap());
    let runtime = actix_web::rt::System::new();
    let server = HttpServer::new(move || {
        let body = body.clone();
        ActixApp::new().default_service(web::to(move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("text/html; charset=utf-8").body(body) }
        }))
    });
    runtime.block_on(server.bind(("127.0.0.1", port)).unwrap().run()).unwrap();
}
