//! Options of every command that needs data: flag, environment, file, default, in this order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use url::Url;

use super::{Failure, say};
use crate::app::TlsMode;
use crate::seal::Secret;

const DATA_DIR: &str = "/var/lib/vynos";
const MASTER_KEY: &str = "/etc/vynos/master.key";
/// A token that can't be guessed is longer than this.
const SHORTEST_TOKEN: usize = 24;
const LISTEN: &str = "127.0.0.1:8443";

#[derive(Args, Clone, Debug, Default)]
pub struct ServerArgs {
    /// TOML file with a [server] section that holds the options below, with underscores.
    #[arg(long, env = "VYNOS_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where everything is kept, sealed [default: /var/lib/vynos].
    #[arg(long, env = "VYNOS_SERVER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The key of the installation, outside the data directory [default: /etc/vynos/master.key].
    #[arg(long, env = "VYNOS_SERVER_MASTER_KEY_FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Address and port to listen on [default: 127.0.0.1:8443].
    #[arg(long, env = "VYNOS_SERVER_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The address people use, such as https://vynos.example.com.
    #[arg(long, env = "VYNOS_SERVER_EXTERNAL_URL")]
    pub external_url: Option<Url>,
    /// Certificate chain (PEM). Without it a local CA is made.
    #[arg(long, env = "VYNOS_SERVER_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate (PEM).
    #[arg(long, env = "VYNOS_SERVER_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// File with the token that `/metrics` asks for. Without it there are no metrics.
    #[arg(long, env = "VYNOS_SERVER_METRICS_TOKEN_FILE")]
    pub metrics_token_file: Option<PathBuf>,
    /// Plain HTTP on loopback, behind a proxy on this machine that ends TLS.
    #[arg(long, env = "VYNOS_SERVER_BEHIND_PROXY")]
    pub behind_proxy: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ConfigFile {
    server: ServerSection,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ServerSection {
    data_dir: Option<PathBuf>,
    master_key_file: Option<PathBuf>,
    listen: Option<SocketAddr>,
    external_url: Option<Url>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    metrics_token_file: Option<PathBuf>,
    behind_proxy: Option<bool>,
}

/// The options after all sources were read.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub data_dir: PathBuf,
    pub master_key_file: PathBuf,
    pub listen: SocketAddr,
    pub external_url: Option<Url>,
    pub tls: TlsMode,
    pub metrics_token_file: Option<PathBuf>,
    pub behind_proxy: bool,
}

impl ServerArgs {
    /// Reads the file and fills in defaults; refuses what can't work together.
    pub fn resolve(&self) -> Result<ServerConfig, Failure> {
        let file = match &self.config {
            None => ServerSection::default(),
            Some(path) => read(path)?.server,
        };
        let listen = match self.listen.or(file.listen) {
            Some(listen) => listen,
            None => LISTEN.parse()?,
        };
        let behind_proxy = self.behind_proxy || file.behind_proxy.unwrap_or(false);
        let external_url = self.external_url.clone().or(file.external_url);
        let cert = self.tls_cert.clone().or(file.tls_cert);
        let key = self.tls_key.clone().or(file.tls_key);
        let tls = match (behind_proxy, cert, key) {
            (true, None, None) => TlsMode::Plain,
            (true, ..) => return usage("behind_proxy serves plain HTTP: give no certificate with it"),
            (false, Some(chain), Some(key)) => TlsMode::Files { chain, key },
            (false, None, None) => TlsMode::Local,
            (false, ..) => return usage("tls_cert and tls_key go together"),
        };
        if let Some(url) = &external_url
            && (!matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.path() != "/")
        {
            return usage("external_url must look like https://vynos.example.com, without a path");
        }
        if behind_proxy && external_url.is_none() {
            return usage("behind_proxy needs external_url: the address that the proxy serves");
        }
        Ok(ServerConfig {
            data_dir: self.data_dir.clone().or(file.data_dir).unwrap_or_else(|| DATA_DIR.into()),
            master_key_file: self
                .master_key_file
                .clone()
                .or(file.master_key_file)
                .unwrap_or_else(|| MASTER_KEY.into()),
            listen,
            external_url,
            tls,
            metrics_token_file: self.metrics_token_file.clone().or(file.metrics_token_file),
            behind_proxy,
        })
    }
}

fn usage<T>(text: &str) -> Result<T, Failure> {
    Err(Failure::Usage(text.to_owned()))
}

fn read(path: &Path) -> Result<ConfigFile, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::CouldNotRun(format!("{} can't be read: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| Failure::Usage(format!("{}: {}", path.display(), e.message())))
}

impl ServerConfig {
    /// The token for `/metrics`, from its file.
    pub fn metrics_token(&self) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.metrics_token_file else { return Ok(None) };
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::CouldNotRun(format!("metrics_token_file {}: {e}", path.display())))?;
        let token = text.trim();
        if token.len() < SHORTEST_TOKEN {
            let said = format!(
                "metrics_token_file {}: the token is shorter than {SHORTEST_TOKEN} characters; make one with \
                 `openssl rand -hex 32`",
                path.display()
            );
            return Err(Failure::CouldNotRun(said));
        }
        Ok(Some(Secret::new(token.to_owned())))
    }
}

/// `vynos config check`.
pub fn check(args: &ServerArgs) -> Result<(), Failure> {
    let config = args.resolve()?;
    say(&format!("data_dir = {:?}", config.data_dir.display().to_string()))?;
    say(&format!("master_key_file = {:?}", config.master_key_file.display().to_string()))?;
    say(&format!("listen = {:?}", config.listen.to_string()))?;
    if let Some(url) = &config.external_url {
        say(&format!("external_url = {:?}", url.as_str()))?;
    }
    match &config.tls {
        TlsMode::Local => say("# TLS: a local CA is made")?,
        TlsMode::Plain => say("behind_proxy = true")?,
        TlsMode::Files { chain, key } => {
            say(&format!("tls_cert = {:?}", chain.display().to_string()))?;
            say(&format!("tls_key = {:?}", key.display().to_string()))?;
            for path in [chain, key] {
                std::fs::metadata(path).map_err(|e| Failure::No(format!("{}: {e}", path.display())))?;
            }
        }
    }
    if let Some(path) = &config.metrics_token_file {
        say(&format!("metrics_token_file = {:?}", path.display().to_string()))?;
        config.metrics_token().map_err(|failure| match failure {
            Failure::CouldNotRun(said) | Failure::No(said) | Failure::Usage(said) => Failure::No(said),
        })?;
    }
    if matches!(config.tls, TlsMode::Plain) && !config.listen.ip().is_loopback() {
        return Err(Failure::No("behind_proxy listens on loopback only".into()));
    }
    if let Err(error) = crate::seal::MasterKey::load(&config.master_key_file) {
        return Err(Failure::No(format!("master_key_file: {error}")));
    }
    Ok(())
}
