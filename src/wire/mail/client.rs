//! One mail over one connection: connect, secure, sign in, hand over, quit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::{Code, Response};
use url::{Host, Url};

use super::stream::{Secured, certificates};
use super::{Mail, MailError, Security, Server, Step};
use crate::egress::{Cause, EgressError, Gate};

/// The longest that one mail may take.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest quotation of a server, in characters.
const LONGEST_WORDS: usize = 300;

/// Whether `pem` holds at least one certificate and nothing broken.
pub fn valid_ca(pem: &str) -> bool {
    certificates(Some(pem)).is_ok_and(|found| !found.is_empty())
}

/// Sends mails through one server.
pub struct MailClient {
    gate: Gate,
    server: Server,
    me: ClientId,
}

impl MailClient {
    /// `external` is the instance's own address, which it says hello with.
    pub fn new(gate: Gate, server: Server, external: &Url) -> Self {
        let me = match external.host() {
            Some(Host::Domain(name)) => ClientId::Domain(name.to_owned()),
            Some(Host::Ipv4(ip)) => ClientId::Ipv4(ip),
            Some(Host::Ipv6(ip)) => ClientId::Ipv6(ip),
            None => ClientId::default(),
        };
        Self { gate, server, me }
    }

    /// Hands one mail over; what comes back are the server's words when it took it.
    pub async fn send(&self, cause: &Cause, mail: &Mail) -> Result<String, MailError> {
        let message = mail.message()?;
        let sent = tokio::time::timeout(LONGEST, self.converse(cause, &message)).await;
        sent.unwrap_or_else(|_| Err(MailError::TimedOut { host: self.host() }))
    }

    async fn converse(&self, cause: &Cause, message: &lettre::Message) -> Result<String, MailError> {
        let (mut connection, code) = self.connect(cause).await?;
        let said = self.hand_over(&mut connection, message).await;
        match &said {
            Ok(response) => {
                code.store(response.code().into(), Ordering::Relaxed);
                let _ = connection.quit().await;
            }
            Err(error) => {
                if let MailError::Refused { code: refused, .. } = error {
                    code.store(*refused, Ordering::Relaxed);
                }
                connection.abort().await;
            }
        }
        said.map(|response| words(&response.message().collect::<Vec<_>>().join(" ")))
    }

    async fn connect(&self, cause: &Cause) -> Result<(AsyncSmtpConnection, Arc<AtomicU16>), MailError> {
        let dialled = self.gate.dial(cause, &self.server.at).await?;
        let (code, ca) = (dialled.code(), self.server.ca.as_deref());
        let connected = match self.server.security {
            Security::Tls => {
                let secured = Secured::shake_hands(dialled, &self.server.at.host, ca).await;
                let secured = secured.map_err(|error| self.no_tls(&error.to_string()))?;
                AsyncSmtpConnection::connect_with_transport(Box::new(secured), &self.me).await
            }
            Security::StartTls => {
                AsyncSmtpConnection::connect_with_transport(Box::new(dialled), &self.me).await
            }
        };
        let mut connection = connected.map_err(|error| {
            let error = self.failed(&error, Step::Connection);
            if let MailError::Refused { code: refused, .. } = &error {
                code.store(*refused, Ordering::Relaxed);
            }
            error
        })?;
        if self.server.security == Security::StartTls {
            if !connection.can_starttls() {
                connection.abort().await;
                return Err(MailError::NoStartTls { host: self.host() });
            }
            let upgraded = connection.starttls(self.tls(ca)?, &self.me).await;
            upgraded.map_err(|error| match self.failed(&error, Step::Connection) {
                MailError::Broken { why, .. } => self.no_tls(&why),
                other => other,
            })?;
        }
        Ok((connection, code))
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        message: &lettre::Message,
    ) -> Result<Response, MailError> {
        if let Some((user, password)) = &self.server.login {
            let known = [Mechanism::Plain, Mechanism::Login];
            if connection.server_info().get_auth_mechanism(&known).is_none() {
                return Err(MailError::NoLogin { host: self.host() });
            }
            let login = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(&known, &login).await.map_err(|error| self.failed(&error, Step::Login))?;
        }
        let envelope = message.envelope();
        let mut options = Vec::new();
        let ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !envelope.from().into_iter().chain(envelope.to()).all(ascii) {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                let why = "the server takes no address with other letters than a to z (SMTPUTF8)";
                return Err(MailError::Unfit(why.into()));
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        let sender = MailCommand::new(envelope.from().cloned(), options);
        connection.command(sender).await.map_err(|error| self.failed(&error, Step::Sender))?;
        for to in envelope.to() {
            let recipient = Rcpt::new(to.clone(), Vec::new());
            connection.command(recipient).await.map_err(|error| self.failed(&error, Step::Recipient))?;
        }
        connection.command(Data).await.map_err(|error| self.failed(&error, Step::Contents))?;
        let taken = connection.message(&message.formatted()).await;
        taken.map_err(|error| self.failed(&error, Step::Contents))
    }

    fn tls(&self, ca: Option<&str>) -> Result<TlsParameters, MailError> {
        let failed = |error: SmtpError| self.no_tls(&error.to_string());
        let mut tls = TlsParameters::builder(self.server.at.host.clone());
        for certificate in certificates(ca).map_err(|error| self.no_tls(&error.to_string()))? {
            tls = tls.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(failed)?);
        }
        tls.build_rustls().map_err(failed)
    }

    fn failed(&self, error: &SmtpError, step: Step) -> MailError {
        let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        match error.status() {
            Some(code) => {
                MailError::Refused { host: self.host(), step, code: number(code), said: words(&said) }
            }
            None => MailError::Broken { host: self.host(), why: words(&said) },
        }
    }

    fn no_tls(&self, why: &str) -> MailError {
        if why.contains("certificate") {
            EgressError::Tls { host: self.host(), why: words(why) }.into()
        } else {
            MailError::Broken { host: self.host(), why: words(why) }
        }
    }

    fn host(&self) -> String {
        self.server.at.host.clone()
    }
}

fn number(code: Code) -> u16 {
    code.into()
}

/// What a server said, fit for a page: one line, no control characters, not endless.
fn words(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_one_short_line() {
        assert_eq!(words("5.1.1 No such user\r\n\u{1b}[31m here "), "5.1.1 No such user [31m here");
        assert_eq!(words(&"x".repeat(5_000)).len(), LONGEST_WORDS);
    }

    #[test]
    fn a_private_ca_is_pem() {
        assert!(!valid_ca(""));
        assert!(!valid_ca("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"));
    }
}
