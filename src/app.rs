//! Composition: opens the data, binds the address, and hands back a port and something to run. `main`, the
//! tests and the benches start the same thing. `serve` is the web server itself.

mod serve;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::web;
use url::Url;

use serve::{Services, serve};

use crate::audit::{self, Keeper};
use crate::backup::{self, restore};
use crate::chat::Chat;
use crate::chat::hub::Hub;
use crate::clock::{Clock, Random};
use crate::console::{self, Console};
use crate::egress::{Gate, Policy};
use crate::erasure::{self, Eraser};
use crate::health::Status;
use crate::identity::ceremonies::Ceremonies;
use crate::identity::sso::Sso;
use crate::identity::throttle::Throttle;
use crate::ids::WorkspaceId;
use crate::jobs::{Board, Runner};
use crate::knowledge::Knowledge;
use crate::knowledge::extract::Extractor;
use crate::ledger::Ledger;
use crate::mail::{MailServer, Sender};
use crate::meter::Meter;
use crate::models::Models;
use crate::orgs::{Orgs, Refreshing};
use crate::people::{Reminders, Reminding};
use crate::retention::{Sweeper, Sweeping};
use crate::seal::{MasterKey, SealError, Secret};
use crate::usage::{Sampler, Sampling};
use crate::web::counts::Counts;
use crate::web::{Web, tls};
use crate::workspace::pool::DataError;
use crate::workspace::retention::audit_kept;
use crate::workspace::{DataDir, Door, Pool};
use crate::{causes, features};

/// Makes ring the process's TLS provider. Called by every start; calling it again does nothing.
pub fn install_crypto() {
    // An error only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How long a stop waits for threads that have ended to drop what they held.
const LETTING_GO: Duration = Duration::from_secs(5);

/// How certificates are had.
#[derive(Clone, Debug)]
pub enum TlsMode {
    /// A generated local CA.
    Local,
    /// The operator's own PEM files.
    Files { chain: PathBuf, key: PathBuf },
    /// Plain HTTP: behind a proxy on this machine, or the demo on loopback.
    Plain,
}

/// What a start needs.
#[derive(Clone, Debug)]
pub struct Options {
    pub data_dir: PathBuf,
    pub master_key_file: PathBuf,
    /// What asks for `/metrics` has to show.
    pub metrics_token: Option<Secret>,
    pub listen: SocketAddr,
    /// The address people use; `None` means the listening address itself.
    pub external_url: Option<Url>,
    pub tls: TlsMode,
    pub behind_proxy: bool,
    pub demo: bool,
    /// Salesforce origins outside the suffix list: the simulated org.
    pub extra_salesforce: Vec<Url>,
    /// What is started to read documents; `None` = this program.
    pub program: Option<PathBuf>,
    /// Worker threads of the web server; `None` = one per core.
    pub workers: Option<usize>,
    pub clock: Clock,
    pub random: Random,
}

/// Why a start failed: one line that says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {0}: {1}; choose another address with --listen")]
    Bind(SocketAddr, std::io::Error),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("this data was made by `vynos demo` and can't be served; choose another --data-dir")]
    DemoData,
    #[error("{0} holds data of a real instance; `vynos demo` only works on its own data")]
    ForeignData(PathBuf),
    #[error("{0} is in use by another Vynos process; stop it first. Nothing was changed")]
    InUse(PathBuf),
    #[error("{0}")]
    Other(String),
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    #[error(
        "plain HTTP is only served on loopback; give a certificate, or listen on 127.0.0.1 behind a proxy"
    )]
    PlainOutside,
}

impl From<SealError> for StartError {
    fn from(error: SealError) -> Self {
        Self::Data(error.into())
    }
}

impl From<crate::store::StoreError> for StartError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Data(error.into())
    }
}

/// A running instance.
pub struct App {
    /// Where it listens.
    pub address: SocketAddr,
    /// The address people use.
    pub url: Url,
    /// Shown until setup has ended.
    pub setup_code: Option<Secret>,
    /// SHA-256 of the local CA, when there is one.
    pub fingerprint: Option<String>,
    pub web: web::Data<Web>,
    pub runner: Runner,
    pub orgs: web::Data<Orgs>,
    pub models: web::Data<Models>,
    server: ServerHandle,
    running: tokio::task::JoinHandle<std::io::Result<()>>,
    certificate: Option<(tls::Served, TlsMode, Option<tls::LocalCa>)>,
    ledger: Ledger,
    mails: Sender,
    console: Option<console::Served>,
    /// Erases accounts and workspaces whose time is over.
    pub eraser: Eraser,
    erasing: erasure::Running,
    /// Lets audit lines go whose time is over.
    pub keeper: Keeper,
    keeping: audit::keeper::Running,
    /// Makes the backups that are due.
    pub backups: backup::keeper::Keeper,
    backing_up: backup::keeper::Keeping,
    /// Measures what workspaces take.
    pub sampler: Sampler,
    sampling: Sampling,
    /// Removes what limits of workspaces take, and what grows without end.
    pub sweeper: Sweeper,
    sweeping: Sweeping,
    /// Reminds people of what ends soon.
    pub reminders: Reminders,
    reminding: Reminding,
    _lock: std::fs::File,
}

impl App {
    /// Opens the data and begins to serve.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        install_crypto();
        if matches!(options.tls, TlsMode::Plain) && !options.listen.ip().is_loopback() {
            return Err(StartError::PlainOutside);
        }
        let master = MasterKey::load(&options.master_key_file)?;
        let data = Arc::new(DataDir::open_or_create(&options.data_dir, master)?);
        let lock = lock(&options.data_dir)?;
        let control = data.control(options.clock.clone(), options.random.clone())?;
        let settings = control.settings()?;
        match (settings.demo, options.demo) {
            (true, false) => return Err(StartError::DemoData),
            (false, true) if settings.setup_step > 0 => {
                return Err(StartError::ForeignData(options.data_dir));
            }
            _ => {}
        }
        let listener = TcpListener::bind(options.listen).map_err(|e| StartError::Bind(options.listen, e))?;
        let address = listener.local_addr().map_err(|e| StartError::Bind(options.listen, e))?;
        let url = match &options.external_url {
            Some(url) => url.clone(),
            None => default_url(&options.tls, address)?,
        };
        let certificate = certificate(&options, &control, &url, address)?;
        let fingerprint =
            certificate.as_ref().and_then(|(_, _, ca)| ca.as_ref().map(tls::LocalCa::fingerprint));
        let pool = Arc::new(Pool::new(data, options.clock.clone(), options.random.clone()));
        let door = Door::new(control.clone(), Arc::clone(&pool));
        let workspaces: Vec<WorkspaceId> = control.all_workspaces()?.into_iter().map(|(id, _)| id).collect();
        pool.remove_unfinished(&workspaces).map_err(|e| DataError::File(options.data_dir.clone(), e))?;
        let ledger = Ledger::start(door.clone(), control.clone());
        let policy = Policy { extra_salesforce: options.extra_salesforce.clone(), ..Policy::default() };
        let gate = Gate::new(policy.clone(), options.clock.clone(), ledger.sink())
            .map_err(|e| StartError::Other(e.to_string()))?;
        let models = Models::start(control.clone(), gate.clone(), policy)
            .map_err(|e| StartError::Other(e.to_string()))?;
        let mail = MailServer::start(control.clone(), gate.clone(), url.clone())
            .map_err(|e| StartError::Other(e.to_string()))?;
        let mails = Sender::start(mail.clone());
        let sso =
            Sso::start(control.clone(), gate.clone(), &url).map_err(|e| StartError::Other(e.to_string()))?;
        let callback =
            url.join("/oauth/salesforce/callback").map_err(|e| StartError::Other(e.to_string()))?;
        let board = Board::default();
        let status = Status {
            control: control.clone(),
            door: door.clone(),
            pool: Arc::clone(&pool),
            key_file: options.master_key_file.clone(),
            since: Instant::now(),
            gate: Some(gate.clone()),
            board: Some(board.clone()),
            certificate: certificate.as_ref().map(|(served, _, _)| served.clone()),
            metrics_token: options.metrics_token.clone().map(Arc::new),
        };
        let orgs =
            Orgs { gate: gate.clone(), board: board.clone(), callback, refreshing: Refreshing::default() };
        let knowledge = Knowledge {
            extractor: options.program.clone().map_or_else(Extractor::default, Extractor::new),
            board: board.clone(),
        };
        let meter = Meter::new(control.clone());
        let chat = Chat { models: models.clone(), hub: Hub::default(), meter };
        let shown = web::Data::new(board.clone());
        let keeper = Keeper::new(
            control.clone(),
            door.clone(),
            options.clock.clone(),
            options.random.clone(),
            audit_kept,
        );
        let runner = Runner::start(
            door.clone(),
            &pool,
            board.clone(),
            features::jobs(&control, &orgs, &knowledge, &chat),
            workspaces,
            options.clock.clone(),
            options.random.clone(),
        );
        if restore::wants_indexes(&control)? {
            features::build_indexes(&control, &door).await.map_err(|e| StartError::Other(e.to_string()))?;
            restore::has_indexes(&control)?;
        }
        let setup_code = (!settings.set_up).then(|| control.setup_code());
        let web = web::Data::new(Web {
            control,
            door,
            pool,
            board,
            clock: options.clock.clone(),
            throttle: Throttle::new(options.clock.clone()),
            counts: Counts::default(),
            ceremonies: Ceremonies::new(&url, options.clock.clone(), options.random.clone()),
            external: url.clone(),
            behind_proxy: options.behind_proxy,
            demo: options.demo,
            navigation: features::navigation,
            cause: causes::page_of,
            settings: RwLock::new(settings),
        });
        let orgs = web::Data::new(orgs);
        let models = web::Data::new(models);
        let chat = web::Data::new(chat);
        let (knowledge, mail, sso) = (web::Data::new(knowledge), web::Data::new(mail), web::Data::new(sso));
        let backups =
            backup::keeper::Keeper::new(web.control.clone(), web.door.clone(), Arc::clone(&web.pool));
        let services = Services {
            backups: web::Data::new(backups.clone()),
            gate: web::Data::new(gate),
            web: web.clone(),
            orgs: orgs.clone(),
            models: models.clone(),
            mail,
            sso,
            knowledge,
            chat,
            status: web::Data::new(status.clone()),
            board: shown,
            keeper: web::Data::new(keeper.clone()),
        };
        let console = Console::new(status, url.clone());
        let console = console::serve(&options.data_dir, console)
            .map_err(|error| tracing::error!(%error, "console commands can't reach this server"))
            .ok();
        let (control, door) = (web.control.clone(), web.door.clone());
        let reminders = Reminders::new(control.clone());
        let sampler = Sampler::new(control.clone(), door.clone(), options.clock.clone());
        let sweeper =
            Sweeper::new(control.clone(), door.clone(), options.clock.clone(), options.random.clone());
        let eraser = Eraser::new(
            control,
            door,
            Arc::clone(&web.pool),
            orgs.get_ref().clone(),
            options.clock.clone(),
            options.random.clone(),
        );
        let (server, running) = serve(listener, services, certificate.as_ref(), options.workers)?;
        Ok(Self {
            address,
            url,
            setup_code,
            fingerprint,
            web,
            runner,
            orgs,
            models,
            server,
            running,
            certificate,
            ledger,
            mails,
            console,
            erasing: eraser.start(),
            eraser,
            keeping: keeper.start(),
            keeper,
            backing_up: backups.start(),
            backups,
            sampling: sampler.start(),
            sampler,
            sweeping: sweeper.start(),
            sweeper,
            reminding: reminders.start(),
            reminders,
            _lock: lock,
        })
    }

    /// Reads the operator's certificate again (SIGHUP), or renews the local one when it is time.
    pub fn reload_certificate(&self) -> Result<(), tls::TlsError> {
        let now = self.web.clock.now();
        match &self.certificate {
            Some((served, TlsMode::Files { chain, key }, _)) => served.reload(chain, key, now),
            Some((served, _, Some(ca))) => served.renew(ca, &self.web.control).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Stops gracefully: no new requests, running ones end, jobs are handed back, files are closed. After
    /// `longest` what still runs is dropped.
    pub async fn stop(self, longest: Duration) {
        let ended = tokio::time::timeout(longest, async {
            self.server.stop(true).await;
            self.runner.stop().await;
        });
        if ended.await.is_err() {
            self.server.stop(false).await;
        }
        let _ = self.running.await;
        let Self { web, runner, ledger, mails, console, eraser, erasing, .. } = self;
        let Self { keeper, keeping, backups, backing_up, sampler, sampling, .. } = self;
        let Self { sweeper, sweeping, reminders, reminding, .. } = self;
        drop(runner);
        keeping.stop().await;
        drop(keeper);
        backing_up.stop().await;
        drop(backups);
        erasing.stop().await;
        drop(eraser);
        sampling.stop().await;
        drop(sampler);
        sweeping.stop().await;
        drop(sweeper);
        reminding.stop().await;
        drop(reminders);
        if let Some(console) = console {
            console.stop().await;
        }
        mails.stop().await;
        ledger.stop().await;
        web.pool.close_idle();
        // The web server's threads let go of the data a moment after they said that they ended.
        let until = tokio::time::Instant::now() + LETTING_GO;
        let web = web.into_inner();
        while Arc::strong_count(&web) > 1 && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// One process a data directory: the kernel releases the lock when the process ends, however it ends.
pub fn lock(data_dir: &Path) -> Result<std::fs::File, StartError> {
    let path = data_dir.join("LOCK");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| DataError::File(path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StartError::InUse(data_dir.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(DataError::File(data_dir.join("LOCK"), e).into()),
    }
}

/// The address people use when none is given.
pub fn default_url(mode: &TlsMode, address: SocketAddr) -> Result<Url, StartError> {
    let scheme = if matches!(mode, TlsMode::Plain) { "http" } else { "https" };
    let host = if address.ip().is_loopback() || address.ip().is_unspecified() {
        "localhost".to_owned()
    } else {
        SocketAddr::new(address.ip(), 0).ip().to_string()
    };
    let port = address.port();
    Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(|e| StartError::Other(e.to_string()))
}

type Certificate = (tls::Served, TlsMode, Option<tls::LocalCa>);

fn certificate(
    options: &Options,
    control: &crate::identity::Control,
    url: &Url,
    address: SocketAddr,
) -> Result<Option<Certificate>, StartError> {
    Ok(match &options.tls {
        TlsMode::Plain => None,
        TlsMode::Files { chain, key } => {
            let served = tls::Served::files(chain, key, options.clock.now())?;
            Some((served, options.tls.clone(), None))
        }
        TlsMode::Local => {
            let mut names = vec![url.host_str().unwrap_or("localhost").to_owned()];
            for name in ["localhost".to_owned(), "127.0.0.1".to_owned(), address.ip().to_string()] {
                if !names.contains(&name) && name != "0.0.0.0" && name != "::" {
                    names.push(name);
                }
            }
            let ca = tls::LocalCa::ensure(control, &names)?;
            Some((tls::Served::local(&ca, control)?, TlsMode::Local, Some(ca)))
        }
    })
}
