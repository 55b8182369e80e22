//! Which hosts may be called, for what.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address::{Reach, may_reach};
use super::{EgressError, Purpose};

/// Salesforce's own hosts, where sign-in and API calls may go.
const SALESFORCE: [&str; 2] = [".salesforce.com", ".salesforce.mil"];
/// Hosts that Salesforce may name as an org's API host, never for sign-in.
const SALESFORCE_API_ONLY: [&str; 1] = [".force.com"];

/// A server that is dialled without a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

/// What the operator allows.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The mail server. May be private.
    pub mail: Option<HostPort>,
    /// Further mail servers, which workspaces may choose. May be private.
    pub workspace_mail: Vec<HostPort>,
    /// Base URLs of model endpoints. May be private.
    pub models: Vec<Url>,
    /// Origins of the single sign-on provider. May be private.
    pub sso: Vec<Url>,
    /// Salesforce origins outside the suffix list: the simulated org. Empty in production.
    pub extra_salesforce: Vec<Url>,
    /// Plain http beyond loopback.
    pub allow_plain_http: bool,
}

impl Policy {
    /// Whether `url` may be called, and how far its address may lie.
    pub(super) fn check(&self, url: &Url, purpose: Purpose) -> Result<Reach, EgressError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let refuse =
            |reason: &str| Err(EgressError::Refused { host: host.clone(), reason: reason.to_owned() });
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("the address carries a user name");
        }
        let reach = match purpose {
            Purpose::Mail => return refuse("mail leaves over SMTP only"),
            Purpose::Model if self.models.iter().any(|base| below(url, base)) => Reach::Intranet,
            Purpose::Model => return refuse("it is not the configured model endpoint"),
            Purpose::Sso if self.sso.iter().any(|known| known.origin() == url.origin()) => Reach::Intranet,
            Purpose::Sso => return refuse("it is not a host of the saved single sign-on provider"),
            Purpose::Salesforce | Purpose::SalesforceLogin
                if self.extra_salesforce.iter().any(|extra| extra.origin() == url.origin()) =>
            {
                Reach::Intranet
            }
            Purpose::Salesforce
                if ends_with(&host, &SALESFORCE) || ends_with(&host, &SALESFORCE_API_ONLY) =>
            {
                Reach::Public
            }
            Purpose::SalesforceLogin if ends_with(&host, &SALESFORCE) => Reach::Public,
            _ => return refuse("it is not a host of Salesforce"),
        };
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        if literal.is_some_and(|ip| !may_reach(ip, reach)) {
            return refuse("its address may not be reached");
        }
        let loopback = literal.is_some_and(|ip| ip.is_loopback()) || host == "localhost";
        match url.scheme() {
            "https" => Ok(reach),
            "http" if reach == Reach::Intranet && (loopback || self.allow_plain_http) => Ok(reach),
            _ => refuse("only https is allowed"),
        }
    }
}

impl Policy {
    /// Every host that may be called, with its port, and what for: what a firewall in front has to let out.
    pub fn hosts(&self) -> Vec<(String, Purpose)> {
        let of = |url: &Url| {
            let port = url.port_or_known_default().unwrap_or(443);
            format!("{}:{port}", url.host_str().unwrap_or_default())
        };
        let mut hosts: Vec<_> = self.models.iter().map(|url| (of(url), Purpose::Model)).collect();
        for suffix in SALESFORCE.iter().chain(&SALESFORCE_API_ONLY) {
            hosts.push((format!("*{suffix}:443"), Purpose::Salesforce));
        }
        hosts.extend(self.extra_salesforce.iter().map(|url| (of(url), Purpose::Salesforce)));
        let mail = self.mail.iter().chain(&self.workspace_mail);
        hosts.extend(mail.map(|to| (format!("{}:{}", to.host, to.port), Purpose::Mail)));
        hosts.extend(self.sso.iter().map(|url| (of(url), Purpose::Sso)));
        hosts
    }

    /// Whether the mail server `to` may be dialled, and how far its address may lie.
    pub(super) fn check_dial(&self, to: &HostPort) -> Result<Reach, EgressError> {
        let refuse =
            |reason: &str| Err(EgressError::Refused { host: to.host.clone(), reason: reason.to_owned() });
        if !self.mail.iter().chain(&self.workspace_mail).any(|known| known == to) {
            return refuse("it is not a mail server of this instance");
        }
        if to.host.parse().is_ok_and(|ip| !may_reach(ip, Reach::Intranet)) {
            return refuse("its address may not be reached");
        }
        Ok(Reach::Intranet)
    }
}

/// Same origin, and the path at or below the base's, on a segment boundary.
fn below(url: &Url, base: &Url) -> bool {
    let path = base.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(path);
    url.origin() == base.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A name below one of the suffixes; letters, digits, hyphens and dots only.
fn ends_with(host: &str, suffixes: &[&str]) -> bool {
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    plain && suffixes.iter().any(|s| host.len() > s.len() && host.ends_with(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str, purpose: Purpose) -> bool {
        let Ok(url) = Url::parse(url) else { return true };
        Policy::default().check(&url, purpose).is_err()
    }

    #[test]
    fn rows_20_to_24_only_salesforce_hosts_over_https_are_called() {
        for url in [
            "http://acme.my.salesforce.com/",
            "file:///etc/passwd",
            "https://evil.example/",
            "https://salesforce.com.evil.example/",
            "https://evilsalesforce.com/",
            "https://.salesforce.com/",
            "https://user@acme.my.salesforce.com/",
            "https://acme.my.salesforce.com@evil.example/",
            "https://evil.example\\@acme.my.salesforce.com/",
            "https://evil.example#.salesforce.com/",
            "https://evil.example?.salesforce.com",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://169.254.169.254/",
            "https://acme.my.salesforce.com.:8443evil/",
            "gopher://acme.my.salesforce.com/",
        ] {
            assert!(refused(url, Purpose::Salesforce), "{url}");
            assert!(refused(url, Purpose::SalesforceLogin), "{url}");
        }
        for url in
            ["https://login.salesforce.com/x", "https://acme--uat.sandbox.my.salesforce.com/services/data"]
        {
            assert!(!refused(url, Purpose::SalesforceLogin), "{url}");
        }
        assert!(!refused("https://acme.lightning.force.com/", Purpose::Salesforce));
        assert!(refused("https://acme.lightning.force.com/", Purpose::SalesforceLogin));
        assert!(refused("https://api.example.com/v1/messages", Purpose::Model));
    }

    #[test]
    fn a_model_is_called_only_below_its_base() {
        let policy = Policy {
            models: vec![Url::parse("https://gw.example/x/anthropic/").unwrap()],
            ..Policy::default()
        };
        let ok = |url: &str| policy.check(&Url::parse(url).unwrap(), Purpose::Model).is_ok();
        assert!(ok("https://gw.example/x/anthropic/v1/messages"));
        assert!(!ok("https://gw.example/x/anthropic-other/v1/messages"));
        assert!(!ok("https://gw.example:444/x/anthropic/v1/messages"));
        assert!(!ok("https://gw.example/x/anthropic/../../admin"));
    }

    #[test]
    fn single_sign_on_reaches_only_the_origins_of_its_provider() {
        let sso = vec![Url::parse("https://id.halden.example/realms/main").unwrap()];
        let policy = Policy { sso, ..Policy::default() };
        let ok = |url: &str| policy.check(&Url::parse(url).unwrap(), Purpose::Sso).is_ok();
        assert!(ok("https://id.halden.example/realms/main/token") && ok("https://id.halden.example/keys"));
        assert!(!ok("https://id.halden.example:444/keys") && !ok("http://id.halden.example/keys"));
        assert!(!ok("https://id.halden.example.evil.example/keys") && !ok("https://169.254.169.254/"));
        let model = policy.check(&Url::parse("https://id.halden.example/v1").unwrap(), Purpose::Model);
        assert!(model.is_err(), "a host is allowed for one purpose");
    }

    #[test]
    fn only_the_configured_mail_server_is_dialled() {
        let server = |host: &str, port| HostPort { host: host.into(), port };
        let policy = Policy { mail: Some(server("mail.halden.example", 465)), ..Policy::default() };
        assert!(policy.check_dial(&server("mail.halden.example", 465)).is_ok());
        assert!(policy.check_dial(&server("mail.halden.example", 25)).is_err());
        assert!(policy.check_dial(&server("evil.example", 465)).is_err());
        let workspaces =
            Policy { workspace_mail: vec![server("relay.halden.example", 587)], ..policy.clone() };
        assert!(workspaces.check_dial(&server("relay.halden.example", 587)).is_ok());
        assert!(workspaces.check_dial(&server("relay.halden.example", 465)).is_err());
        let metadata = Policy { mail: Some(server("169.254.169.254", 80)), ..Policy::default() };
        assert!(metadata.check_dial(&server("169.254.169.254", 80)).is_err());
        let url = Url::parse("https://mail.halden.example:465/").unwrap();
        assert!(policy.check(&url, Purpose::Mail).is_err(), "mail is no reason for an HTTP call");
    }
}
