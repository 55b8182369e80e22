//! What notices keep of somebody whose account is erased: their own go, and in those of others a name goes.

use super::records::{ACCOUNT_NOTICES, Audience, NOTICE_CHOICES, NOTICES, NOTICES_READ, NOTICES_SEEN};
use crate::identity::{Account, ControlTx};
use crate::ids::AccountId;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::workspace::{Change, Workspace};

/// What stands where a name was.
const SOMEBODY: &str = "a former member";

/// Forgets an account inside the change that erases it, also in what others were told.
pub fn forget(tx: &mut ControlTx, id: AccountId, account: &Account) -> Result<(), StoreError> {
    tx.remove_under(&ACCOUNT_NOTICES, &id)?;
    tx.remove(&NOTICE_CHOICES, &id)?;
    for (key, mut row) in tx.scan(&ACCOUNT_NOTICES).rows()? {
        if hide(&mut row.title, account) | hide(&mut row.body, account) {
            tx.put(&ACCOUNT_NOTICES, &key, &row)?;
        }
    }
    Ok(())
}

/// The same for the notices of a workspace. Running it again finds nothing left.
pub async fn erase(ws: &Workspace, id: AccountId, account: &Account) -> Result<(), StoreError> {
    let account = account.clone();
    ws.change(Action::AccountErased, id, move |tx| {
        for (key, mut row) in tx.scan(&NOTICES).rows()? {
            if row.to == Audience::Account(id) {
                tx.remove(&NOTICES, &key)?;
                tx.remove_under(&NOTICES_READ, &key)?;
            } else if hide(&mut row.title, &account) | hide(&mut row.body, &account) {
                tx.put(&NOTICES, &key, &row)?;
            }
        }
        let mut read = Vec::new();
        tx.scan(&NOTICES_READ).each(|key, ()| {
            read.extend((key.1 == id).then_some(key));
            true
        })?;
        for key in read {
            tx.remove(&NOTICES_READ, &key)?;
        }
        tx.remove(&NOTICES_SEEN, &id).map(|_| ())
    })
    .await
}

/// Forgets what accounts were told about a workspace that is erased, inside that change: notices that lead below one of
/// its slugs, and when `name` is given, which no other workspace may have, those that name it.
pub fn forget_workspace(tx: &mut ControlTx, slugs: &[String], name: Option<&str>) -> Result<(), StoreError> {
    let quoted = name.map(|name| format!("“{name}”"));
    for (key, row) in tx.scan(&ACCOUNT_NOTICES).rows()? {
        let below = slugs.iter().any(|slug| row.link.starts_with(&format!("/w/{slug}/")));
        let names = |text: &str| quoted.as_ref().is_some_and(|quoted| text.contains(quoted.as_str()));
        if below || names(&row.title) || names(&row.body) {
            tx.remove(&ACCOUNT_NOTICES, &key)?;
        }
    }
    Ok(())
}

/// Forgets the notices of a workspace that lead to an org which is disconnected, inside that change.
pub fn forget_org(tx: &mut Change<'_>, slug: &str) -> Result<(), StoreError> {
    let place = format!("o/{slug}");
    for (key, row) in tx.scan(&NOTICES).rows()? {
        let rest = row.link.strip_prefix(&place);
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
            tx.remove(&NOTICES, &key)?;
            tx.remove_under(&NOTICES_READ, &key)?;
        }
    }
    Ok(())
}

/// Takes name and address out of a line; answers whether they were there.
fn hide(text: &mut String, account: &Account) -> bool {
    let mut hidden = text.clone();
    for word in [account.email.as_str(), account.name.as_str()] {
        hidden = without(&hidden, word);
    }
    let found = hidden != *text;
    *text = hidden;
    found
}

/// Replaces `word` where it stands for itself: Al is not in Also.
fn without(text: &str, word: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(word).filter(|_| !word.is_empty()) {
        out.push_str(before);
        let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let whole = !inside(out.chars().next_back()) && !inside(after.chars().next());
        out.push_str(if whole { SOMEBODY } else { word });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_where_it_is_a_word_of_its_own() {
        assert_eq!(without("Al joined. Also: Al", "Al"), "a former member joined. Also: a former member");
        assert_eq!(without("nothing", ""), "nothing");
    }
}
