//! A material change of the privacy policy goes to every account by mail, whatever they chose. In batches: how far it
//! got is committed with the mails themselves, so that each account gets one, also when the process ends in between.

use serde::{Deserialize, Serialize};

use crate::identity::accounts::ACCOUNTS;
use crate::identity::policies::POLICIES;
use crate::identity::{Control, ControlTx};
use crate::ids::AccountId;
use crate::mail::{self, Letter, MAIL_SERVER, outbox};
use crate::store::{Read as _, StoreError, Table};

/// Versions that are being mailed, with the last account that has its mail. The newest stands for those before.
pub const POLICY_MAILS: Table<u32, Mailed> = Table::new("policy_mails", 1);

/// Accounts in one commit.
const BATCH: usize = 100;

/// How far the mails of a version got.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Mailed {
    after: Option<AccountId>,
}

/// Has a version mailed, inside the change that publishes it; [`mail_policy`] does it.
pub fn begin(tx: &mut ControlTx, number: u32) -> Result<(), StoreError> {
    for (older, _) in tx.scan(&POLICY_MAILS).rows()? {
        tx.remove(&POLICY_MAILS, &older)?;
    }
    tx.put(&POLICY_MAILS, &number, &Mailed::default())
}

/// Puts the mails of a published version into the outbox, as far as it has room; called again, it goes on. Without a
/// mail server people are told in the app alone.
pub async fn mail_policy(control: &Control) -> Result<(), StoreError> {
    let control = control.clone();
    let posted = tokio::task::spawn_blocking(move || {
        // Most of the time there is nothing to write.
        while control.read()?.scan(&POLICY_MAILS).limit(1).count()? > 0 {
            let mut goes_on = false;
            control.touch::<StoreError>(|tx| {
                goes_on = batch(tx, &control)?;
                Ok(())
            })?;
            if !goes_on {
                break;
            }
        }
        Ok(())
    });
    posted.await.map_err(|e| StoreError::Io(std::io::Error::other(e)))?
}

/// One batch; answers whether to go on now.
fn batch(tx: &mut ControlTx, control: &Control) -> Result<bool, StoreError> {
    let Some((number, mailed)) = tx.scan(&POLICY_MAILS).reverse().limit(1).rows()?.pop() else {
        return Ok(false);
    };
    let version = tx.get(&POLICIES, &number)?;
    let Some(version) = version.filter(|_| tx.has(&MAIL_SERVER, &0).unwrap_or(false)) else {
        tx.remove(&POLICY_MAILS, &number)?;
        return Ok(true);
    };
    let scan = tx.scan(&ACCOUNTS).limit(BATCH);
    let accounts = match &mailed.after {
        Some(id) => scan.after(id),
        None => scan,
    }
    .rows()?;
    let whole = accounts.len() < BATCH;
    let letter =
        Letter::PrivacyPolicyChanged { what: version.what, at: version.published, link: "/privacy".into() };
    let mut after = mailed.after;
    for (id, account) in accounts {
        // Who came later has read the new one.
        if account.created <= version.published {
            if !outbox::has_room(tx)? {
                tx.put(&POLICY_MAILS, &number, &Mailed { after })?;
                return Ok(false);
            }
            mail::post(tx, control, account.email.as_str(), &letter)?;
        }
        after = Some(id);
    }
    if whole {
        tx.remove(&POLICY_MAILS, &number)?;
    } else {
        tx.put(&POLICY_MAILS, &number, &Mailed { after })?;
    }
    Ok(true)
}
