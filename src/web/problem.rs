//! Every error a person or a client sees. The same value makes the HTML page and `application/problem+json`;
//! the cause chain goes to the one log line of the request and nowhere else.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::identity::passkeys::PasskeyError;
use crate::identity::{IdentityError, Restricted, Role, Scope};
use crate::seal::SealError;
use crate::store::StoreError;
use crate::workspace::Refused;
use crate::workspace::pool::DataError;

/// A field that was not right, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

/// What went wrong, as far as the one who asked may know.
#[derive(Debug)]
pub enum Problem {
    /// Our fault or the machine's; the text is for the log.
    Broken(String),
    /// The account is about to be deleted: it can be kept, and nothing else.
    Closing,
    /// The person has to prove once more who they are, then goes on at this path.
    Confirm(String),
    Conflict(String),
    /// The workspace of this slug is about to be deleted; its owners may read it and keep it.
    Deleting {
        slug: String,
        owner: bool,
    },
    DiskFull,
    /// Visible, but not theirs to do; names the role that may.
    Forbidden(Role),
    /// The form came without its key, or from another site.
    ForeignForm,
    Gone(String),
    Invalid(Vec<FieldError>),
    /// The token lacks this scope.
    NoScope(Scope),
    NotFound,
    /// Only an operator of the instance may do this.
    NotOperator,
    /// Somebody outside (Salesforce, the model, mail) failed: who, and what to do.
    Outside {
        who: String,
        advice: String,
    },
    /// Processing is restricted; whose restriction that is.
    Restricted(Restricted),
    /// Nobody is signed in, or the token is wrong, expired or revoked.
    SignIn,
    TooLarge(String),
    TooMany(u64),
}

impl Problem {
    /// One wrong field.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Closing => StatusCode::SEE_OTHER,
            Self::Conflict(_) | Self::Deleting { .. } | Self::Restricted(_) => StatusCode::CONFLICT,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Confirm(_)
            | Self::Forbidden(_)
            | Self::ForeignForm
            | Self::NoScope(_)
            | Self::NotOperator => StatusCode::FORBIDDEN,
            Self::Gone(_) => StatusCode::GONE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Outside { .. } => StatusCode::BAD_GATEWAY,
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What happened, what was kept, what to do. Never the cause chain.
    pub fn said(&self) -> Said {
        let said = |title: &str, detail: String| Said {
            status: self.status().as_u16(),
            title: title.to_owned(),
            detail,
            errors: Vec::new(),
        };
        match self {
            Self::Broken(_) => said(
                "Something broke here",
                "This request was not carried out. Everything saved before is safe. Try again; if it happens again, \
                 give the request id to the operator of this server."
                    .into(),
            ),
            Self::Closing => said(
                "This account is about to be deleted",
                "Until then it can be kept, and nothing else can be done with it.".into(),
            ),
            Self::Confirm(_) => said(
                "Confirm that it is you",
                "Nothing was changed. This needs your password again: open /account/confirm, then do it once more."
                    .into(),
            ),
            Self::Conflict(what) => said("This changed in the meantime", what.clone()),
            Self::Deleting { slug, owner: true } => said(
                "This workspace is about to be deleted",
                format!(
                    "Nothing was changed. Until then its owners can read it, take its data away, or keep it: open \
                     /w/{slug}/privacy/delete."
                ),
            ),
            Self::Deleting { owner: false, .. } => said(
                "This workspace is about to be deleted",
                "An owner asked for that. Until then only its owners come in, and each of them can still keep it. Nothing \
                 was changed."
                    .into(),
            ),
            Self::DiskFull => said(
                "The disk is full",
                "This was not saved; everything before it was. The operator has to free space on the server; then try \
                 again."
                    .into(),
            ),
            Self::Forbidden(role) => said(
                "Your role does not allow this",
                format!(
                    "It takes the role {} or higher. Nothing was changed. An admin or owner of this workspace can \
                     give you that role under Settings, Members.",
                    role.name()
                ),
            ),
            Self::ForeignForm => said(
                "This form is out of date",
                "Nothing was changed. Go back, load the page again and send the form once more.".into(),
            ),
            Self::Gone(what) => said("This is gone", what.clone()),
            Self::Invalid(errors) => {
                Said { errors: errors.clone(), ..said("There is a problem", "Nothing was changed.".into()) }
            }
            Self::NoScope(scope) => said(
                "This token may not do this",
                format!("It lacks the scope {}. Make a token with it under API tokens.", scope.name()),
            ),
            Self::NotFound => said(
                "There is nothing here",
                "The address is wrong, it was deleted, or you are not a member of its workspace.".into(),
            ),
            Self::NotOperator => said(
                "Only an operator may do this",
                "Nothing was changed. An operator of this instance can do it, or make you one.".into(),
            ),
            Self::Outside { who, advice } => said(&format!("{who} did not answer as expected"), advice.clone()),
            Self::Restricted(whose) => said("Processing is restricted", whose.said().into()),
            Self::SignIn => said("Sign in to go on", "Nobody is signed in, or the session has ended.".into()),
            Self::TooLarge(what) => said("This is too large", what.clone()),
            Self::TooMany(seconds) => {
                said("Too many tries", format!("Nothing was changed. Try again in {seconds} seconds."))
            }
        }
    }
}

/// A problem in words, as RFC 9457 names its members.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    pub status: u16,
    pub title: String,
    pub detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Travels in the answer's extensions: `guard` draws the page and logs the cause from it.
#[derive(Clone, Debug)]
pub struct Told {
    pub said: Said,
    pub cause: Option<String>,
    pub sign_in: bool,
    /// Where the person goes on after confirming who they are.
    pub confirm: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said().title)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    /// A bare answer; `guard` writes the body in the form the client reads.
    fn error_response(&self) -> HttpResponse {
        if matches!(self, Self::Closing) {
            return super::page::see_other("/account/close");
        }
        let mut answer = HttpResponse::build(self.status());
        answer.insert_header((CONTENT_TYPE, "application/problem+json"));
        if let Self::TooMany(seconds) = self {
            answer.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        let answer = answer.finish();
        let cause = match self {
            Self::Broken(cause) => Some(cause.clone()),
            Self::DiskFull => Some("the disk is full".into()),
            Self::Outside { who, advice } => Some(format!("{who}: {advice}")),
            _ => None,
        };
        let mut answer = answer;
        answer.extensions_mut().insert(Told {
            said: self.said(),
            cause,
            sign_in: matches!(self, Self::SignIn),
            confirm: if let Self::Confirm(next) = self { Some(next.clone()) } else { None },
        });
        answer
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::DiskFull,
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<DataError> for Problem {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Store(store) => store.into(),
            DataError::Erased => gone(),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// A workspace whose 30 days are over.
fn gone() -> Problem {
    Problem::Gone(
        "This workspace was deleted and its 30 days are over. Nobody can bring it back. Its former owners find the \
         certificate of erasure under Workspaces, Erased workspaces."
            .into(),
    )
}

impl From<SealError> for Problem {
    fn from(error: SealError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Data(error) => error.into(),
            Refused::Deleting { slug, owner } => Self::Deleting { slug, owner },
            Refused::Forbidden(role) => Self::Forbidden(role),
            Refused::Gone => gone(),
            Refused::NotFound => Self::NotFound,
            Refused::Restricted(whose) => Self::Restricted(whose),
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::AddressTaken => {
                Self::field("email", "There is an account with this address already.")
            }
            IdentityError::AlreadySetUp => Self::NotFound,
            IdentityError::Erased => gone(),
            IdentityError::Invalid(message) => Self::field("", message),
            IdentityError::LastFactor => Self::Conflict(
                "This instance asks for a second factor and this is your last one. Nothing was changed. Add another one \
                 first."
                    .into(),
            ),
            IdentityError::LastOwner => Self::Conflict(
                "Nothing was changed: a workspace keeps at least one owner. Make somebody else an owner first."
                    .into(),
            ),
            IdentityError::LastOperator => {
                Self::Conflict("This is the last operator who can sign in. Nothing was changed.".into())
            }
            IdentityError::NoSuchAccount
            | IdentityError::NoSuchInvitation
            | IdentityError::NoSuchLink
            | IdentityError::NotMember => {
                Self::NotFound
            }
            IdentityError::NotAnOwner => Self::Forbidden(Role::Owner),
            IdentityError::OtherAddress => {
                Self::Conflict("The invitation is for another e-mail address. It was not used up.".into())
            }
            IdentityError::NotSignedIn => Self::SignIn,
            IdentityError::RestrictedByOperator => Self::Conflict(
                "An operator restricted this and lifts it. Nothing was changed. Ask the operator of this server.".into(),
            ),
            IdentityError::Store(store) => store.into(),
            IdentityError::TooMany(seconds) => Self::TooMany(seconds),
            IdentityError::NothingToTurnOn => {
                Self::Conflict("The key waited longer than ten minutes. Begin again.".into())
            }
            IdentityError::WrongCode | IdentityError::WrongCredentials | IdentityError::WrongSetupCode => {
                Self::field("", error.to_string())
            }
        }
    }
}

impl From<PasskeyError> for Problem {
    fn from(error: PasskeyError) -> Self {
        match error {
            PasskeyError::Store(error) => error.into(),
            other => Self::field("", other.to_string()),
        }
    }
}

impl From<actix_web::error::BlockingError> for Problem {
    fn from(error: actix_web::error::BlockingError) -> Self {
        Self::Broken(error.to_string())
    }
}
