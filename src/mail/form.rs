//! The fields of a mail server as a form sends and shows them: one set for setup and for the settings.

use serde::Deserialize;
use url::Host;

use super::servers::bare;
use super::{Entered, Kept, MailServer, MailSettingsError, Whose};
use crate::identity::SignedIn;
use crate::seal::Secret;
use crate::web::Problem;
use crate::web::problem::FieldError;
use crate::wire::mail::{MailError, Security, Step, address, valid_ca};

/// The largest private CA that is kept, in bytes.
const LARGEST_CA: usize = 64 << 10;

/// What the form sends. The password comes back to no page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailForm {
    host: String,
    port: String,
    security: Security,
    #[serde(default)]
    user: String,
    #[serde(default)]
    password: String,
    sender: String,
    #[serde(default)]
    ca: String,
    /// `save` saves at once; everything else tests first.
    #[serde(default)]
    act: String,
}

/// What the fields show.
#[derive(Clone, Debug, Default)]
pub struct MailFields {
    pub host: String,
    pub port: String,
    pub security: &'static str,
    pub user: String,
    pub sender: String,
    pub ca: String,
    /// A server is kept already.
    pub configured: bool,
    /// A password is kept already.
    pub has_password: bool,
    /// Where the test mail goes: the account's own address.
    pub to: String,
    /// What the server said when it took the test mail.
    pub worked: Option<String>,
    pub errors: Vec<FieldError>,
}

impl MailFields {
    /// The saved server, or empty fields.
    pub fn of(kept: Option<Kept>, to: &str) -> Self {
        let Some(kept) = kept else {
            let port = "465".to_owned();
            return Self { port, security: name(Security::Tls), to: to.to_owned(), ..Self::default() };
        };
        Self {
            host: kept.host,
            port: kept.port.to_string(),
            security: name(kept.security),
            user: kept.user,
            sender: kept.sender,
            ca: kept.ca.unwrap_or_default(),
            configured: true,
            has_password: kept.password.is_some(),
            to: to.to_owned(),
            ..Self::default()
        }
    }
}

fn name(security: Security) -> &'static str {
    match security {
        Security::StartTls => "start_tls",
        Security::Tls => "tls",
    }
}

impl MailForm {
    /// Sends a test mail to the person's own address through what was entered and saves it when it is taken;
    /// `act=save` saves it without a test. What comes back is for the form: saved when it holds no errors.
    pub async fn apply(self, mail: &MailServer, whose: Whose, me: &SignedIn) -> Result<MailFields, Problem> {
        let store = mail.clone();
        let kept = actix_web::web::block(move || store.kept(whose)).await??;
        let to = me.person().email.as_str().to_owned();
        let mut fields = MailFields {
            host: self.host.clone(),
            port: self.port.clone(),
            security: name(self.security),
            user: self.user.clone(),
            sender: self.sender.clone(),
            ca: self.ca.clone(),
            ..MailFields::of(kept, &to)
        };
        let only_save = self.act == "save";
        let entered = match self.read() {
            Ok(entered) => entered,
            Err(errors) => return Ok(MailFields { errors, ..fields }),
        };
        if whose != Whose::Instance && !mail.may_choose(&entered.at())? {
            let message = format!(
                "The operator of this instance does not allow workspaces to use {}:{}. Nothing was sent and nothing saved. \
                 Ask the operator to allow it.",
                entered.host, entered.port
            );
            fields.errors.push(FieldError { field: "host".into(), message });
            return Ok(fields);
        }
        if !only_save {
            match mail.test(whose, &entered, me.account(), &to).await? {
                Ok(said) => fields.worked = Some(said),
                Err(error) => {
                    let message = format!("{error}. Nothing was saved.");
                    fields.errors.push(FieldError { field: field(&error).into(), message });
                    return Ok(fields);
                }
            }
        }
        let (store, actor) = (mail.clone(), me.actor());
        let kept = actix_web::web::block(move || -> Result<Option<Kept>, MailSettingsError> {
            store.save(whose, actor, &entered)?;
            Ok(store.kept(whose)?)
        });
        Ok(MailFields { worked: fields.worked, ..MailFields::of(kept.await??, &to) })
    }

    fn read(self) -> Result<Entered, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: &str| {
            errors.push(FieldError { field: field.into(), message: message.into() });
        };
        let host = Host::parse(self.host.trim()).ok().filter(|_| self.host.len() <= 255);
        if host.is_none() {
            wrong("host", "Enter the server’s name alone, such as mail.halden.example");
        }
        let port: Option<u16> = self.port.trim().parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            wrong("port", "Enter a port from 1 to 65535; 465 is usual for TLS, 587 for STARTTLS");
        }
        let user = self.user.trim().to_owned();
        if user.len() > 255 || user.chars().any(char::is_control) {
            wrong("user", "A user name has at most 255 characters and no line breaks");
        }
        if self.password.len() > 1000 || self.password.chars().any(char::is_control) {
            wrong("password", "A password has at most 1,000 characters and no line breaks");
        }
        if user.is_empty() && !self.password.is_empty() {
            wrong("user", "Enter the user name that the password belongs to");
        }
        let sender = self.sender.trim().to_owned();
        if address(&sender).is_none() {
            wrong("sender", "Enter an address such as vynos@halden.example");
        }
        let ca = self.ca.trim().to_owned();
        if !ca.is_empty() && (ca.len() > LARGEST_CA || !valid_ca(&ca)) {
            wrong("ca", "Paste the certificate as PEM: it begins with -----BEGIN CERTIFICATE-----");
        }
        match (host, port) {
            (Some(host), Some(port)) if errors.is_empty() => Ok(Entered {
                host: bare(&host),
                port,
                security: self.security,
                user,
                password: (!self.password.is_empty()).then(|| Secret::new(self.password)),
                sender,
                ca: (!ca.is_empty()).then_some(ca),
            }),
            _ => Err(errors),
        }
    }
}

/// The field that most likely mends it.
fn field(error: &MailError) -> &'static str {
    match error {
        MailError::NoLogin { .. } | MailError::Refused { step: Step::Login, .. } => "user",
        MailError::NoStartTls { .. } => "security",
        MailError::Refused { step: Step::Sender | Step::Recipient | Step::Contents, .. } => "sender",
        _ => "host",
    }
}

impl From<MailSettingsError> for Problem {
    fn from(error: MailSettingsError) -> Self {
        match error {
            MailSettingsError::Store(error) => error.into(),
            MailSettingsError::Seal(error) => Self::Broken(error.to_string()),
        }
    }
}
