//! The operator's way to let somebody in again: a link that sets a password, and second factors dropped when the person has
//! lost them. The person hears of it in any case: nobody can take an account over quietly.

use jiff::Timestamp;

use crate::identity::control::Note;
use crate::identity::{Account, Control, ControlTx, Email, IdentityError};
use crate::ids::AccountId;
use crate::mail::{self, Letter};
use crate::notifications::{self, Kind, Notice};
use crate::store::StoreError;
use crate::store::audit::Action;

/// What was made.
pub struct Made {
    /// Path of the link; shown once, to the operator.
    pub path: String,
    pub ends: Timestamp,
    /// Whether the person is told by mail, too.
    pub mailed: bool,
}

/// Makes the link for the account of `address`. `note` names who asked; its action is [`Action::AccountResetByOperator`].
pub fn make(
    control: &Control,
    note: Note,
    (id, account): (AccountId, &Account),
    drop_second_factor: bool,
) -> Result<Made, IdentityError> {
    let dropped = Note { action: Action::SecondFactorRemoved, ..note.clone() };
    let address: &Email = &account.email;
    control.change_now(note, |tx| {
        let link = control.make_reset(tx, address)?;
        if link.account.is_none() {
            return Err(IdentityError::NoSuchAccount);
        }
        if drop_second_factor {
            control.forget_totp(tx, id)?;
            control.forget_passkeys(tx, id)?;
            control.note(tx, dropped)?;
        }
        let mailed = tell(control, tx, id, account, drop_second_factor)?;
        Ok(Made { path: format!("/reset/{}", link.token.expose()), ends: link.ends, mailed })
    })
}

fn tell(
    control: &Control,
    tx: &mut ControlTx,
    id: AccountId,
    account: &Account,
    dropped: bool,
) -> Result<bool, StoreError> {
    let title = if dropped {
        "The operator of this instance made a link that sets your password, and removed your second factors"
    } else {
        "The operator of this instance made a link that sets your password"
    };
    notifications::tell(tx, control, id, Notice::new(Kind::SecurityChanged, title, "/account/security"))?;
    let letter = Letter::PasswordResetByOperator { at: control.clock().now() };
    mail::post(tx, control, account.email.as_str(), &letter)
}
