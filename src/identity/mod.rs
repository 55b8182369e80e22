//! Accounts, sessions, memberships, API tokens: the control file, and the [`SignedIn`] proof that the
//! workspace door asks for. Pages for all of this live in `people`.

pub mod accounts;
pub mod address;
pub mod administration;
pub mod ceremonies;
pub mod control;
pub mod deletion;
pub mod erasures;
pub mod imported;
pub mod invitations;
pub mod kept_audit;
pub mod memberships;
pub mod passkeys;
pub mod password;
pub mod policies;
pub mod reset;
pub mod restriction;
pub mod second_factor;
pub mod sessions;
pub mod settings;
pub mod sign_in;
pub mod sso;
pub mod throttle;
mod tidy;
pub mod tokens;
pub mod workspace_deletion;

pub use accounts::{Account, AccountState, Email, Language, Theme};
pub use control::{Control, ControlTx};
pub use memberships::{Membership, Role, WorkspaceRow, WorkspaceState};
pub use restriction::{Restricted, Restriction};
pub use second_factor::{Accepted, SecondFactors};
pub use sessions::{Session, SessionToken, SignedIn, Via};
pub use settings::{Creators, Quota, Required, Settings};
pub use sign_in::{CodeAnswer, Proved, SignInStep};
pub use tokens::{ApiToken, Scope};
pub use workspace_deletion::Closing;

use crate::store::StoreError;

/// Why somebody is not let in. Texts are the same whether or not the address is known.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("an account with this e-mail address exists already")]
    AddressTaken,
    #[error("this instance is set up already")]
    AlreadySetUp,
    #[error("the time in which this workspace could be kept is over; it is erased")]
    Erased,
    #[error("{0}")]
    Invalid(String),
    #[error(
        "this is the last operator who can sign in; make somebody else an operator first. Nothing was changed"
    )]
    LastOperator,
    #[error(
        "this instance asks for a second factor and this is your last one; add a passkey first. Nothing was changed"
    )]
    LastFactor,
    #[error("a workspace keeps at least one owner; make somebody else an owner first")]
    LastOwner,
    #[error("there is no such account")]
    NoSuchAccount,
    #[error("this invitation can't be used any more")]
    NoSuchInvitation,
    #[error("this link can't be used any more")]
    NoSuchLink,
    #[error("only an owner may do this")]
    NotAnOwner,
    #[error("this account is no member of the workspace")]
    NotMember,
    #[error("the key has waited longer than ten minutes, or was made in another session; begin again")]
    NothingToTurnOn,
    #[error("this invitation is for another e-mail address")]
    OtherAddress,
    #[error("the session has ended; sign in again")]
    NotSignedIn,
    #[error("an operator restricted this; ask the operator of this server to lift it. Nothing was changed")]
    RestrictedByOperator,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too many tries; try again in {0} seconds")]
    TooMany(u64),
    #[error(
        "this code is not right, was used already or has passed; check that the clock of your phone is right"
    )]
    WrongCode,
    #[error("the e-mail address or the password is not right")]
    WrongCredentials,
    #[error(
        "the setup code is not right; it is printed by the installer and by `vynos serve` on the machine"
    )]
    WrongSetupCode,
}
