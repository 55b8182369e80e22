//! The notices of one person: those of the workspace they are in that are meant for them, and those of their account,
//! newest first, of one group as one. Nothing from before they joined is shown.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::kinds::Kind;
use super::records::{ACCOUNT_NOTICES, NOTICES, NOTICES_READ, NOTICES_SEEN, NoticeRow, choices, first_after};
use crate::identity::Control;
use crate::identity::control::ControlTx;
use crate::identity::memberships::MEMBERSHIPS;
use crate::ids::{AccountId, NoticeId};
use crate::store::{Read, StoreError};
use crate::web::live::notices_of;
use crate::workspace::Viewer;

/// Notices looked at for the inbox.
const LOOKED_AT: usize = 500;
/// Notices looked at for the bell: "99+" is enough there.
const COUNTED: usize = 100;

/// One line of the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The newest notice of the group.
    pub id: NoticeId,
    pub kind: Kind,
    pub title: String,
    pub body: String,
    pub at: Timestamp,
    pub unread: bool,
    /// How many notices it stands for.
    pub count: usize,
}

/// What is in the inbox, newest first.
pub fn items(control: &Control, ws: &Viewer) -> Result<Vec<Item>, StoreError> {
    collect(control, ws, false, LOOKED_AT)
}

/// How many lines are unread; counts to a hundred.
pub fn unread(control: &Control, ws: &Viewer) -> Result<usize, StoreError> {
    Ok(collect(control, ws, true, COUNTED)?.len())
}

fn collect(control: &Control, ws: &Viewer, only_unread: bool, most: usize) -> Result<Vec<Item>, StoreError> {
    let (me, ours, theirs) = (ws.account(), ws.read()?, control.read()?);
    let chosen = choices(&theirs, me)?;
    let seen = ours.get(&NOTICES_SEEN, &me)?;
    let mut found = Vec::new();
    let from = match seen.filter(|_| only_unread) {
        Some(seen) => seen,
        None => first_seen(control, ws)?,
    };
    for (id, row) in ours.scan(&NOTICES).reverse().from(&from).limit(most).rows()? {
        if !row.to.includes(me, ws.role()) || !chosen.of(row.kind).app {
            continue;
        }
        let unread = seen.is_none_or(|seen| id > seen) && !ours.has(&NOTICES_READ, &(id, me))?;
        if unread || !only_unread {
            let NoticeRow { kind, title, body, at, group, by, .. } = row;
            let body = with_name(control, body, by)?;
            found.push((group, Item { id, kind, title, body, at, unread, count: 1 }));
        }
    }
    for ((_, id), row) in theirs.scan(&ACCOUNT_NOTICES).under(&me).reverse().limit(most).rows()? {
        if chosen.of(row.kind).app && (!row.read || !only_unread) {
            let unread = !row.read;
            let (kind, title, at) = (row.kind, row.title, row.at);
            let body = with_name(control, row.body, row.by)?;
            found.push((row.group, Item { id, kind, title, body, at, unread, count: 1 }));
        }
    }
    found.sort_by_key(|(_, item)| std::cmp::Reverse(item.id));
    Ok(grouped(found))
}

/// Says whose act it was.
fn with_name(control: &Control, body: String, by: Option<AccountId>) -> Result<String, StoreError> {
    let person = match by {
        Some(id) => control.account(id)?,
        None => None,
    };
    Ok(match person {
        Some(person) if body.is_empty() => person.name,
        Some(person) => format!("{body} · {}", person.name),
        None => body,
    })
}

/// The first notice that a member may see: none from before they joined.
fn first_seen(control: &Control, ws: &Viewer) -> Result<NoticeId, StoreError> {
    let membership = control.read()?.get(&MEMBERSHIPS, &(ws.account(), ws.id()))?;
    let joined = membership.map_or(u64::MAX, |m| u64::try_from(m.joined.as_millisecond()).unwrap_or(0));
    Ok(first_after(joined))
}

/// Those of one kind and group become the newest of them, with their count; unread when one of them is.
fn grouped(found: Vec<(String, Item)>) -> Vec<Item> {
    let mut places: BTreeMap<(Kind, String), usize> = BTreeMap::new();
    let mut items: Vec<Item> = Vec::new();
    for (group, item) in found {
        if !group.is_empty() {
            if let Some(place) = places.get(&(item.kind, group.clone())) {
                let first = &mut items[*place];
                first.count += 1;
                first.unread |= item.unread;
                continue;
            }
            places.insert((item.kind, group), items.len());
        }
        items.push(item);
    }
    items
}

/// Where a notice leads, when this person may see it; it and its group are read from then on.
pub async fn open(control: &Control, ws: &Viewer, id: NoticeId) -> Result<Option<String>, StoreError> {
    let (me, role) = (ws.account(), ws.role());
    if let Some(row) = control.read()?.get(&ACCOUNT_NOTICES, &(me, id))? {
        let (this, link) = (control.clone(), row.link);
        let marked = tokio::task::spawn_blocking(move || {
            this.touch::<StoreError>(|tx| {
                this.tell_pages_of(me);
                mark(tx, me, |key, other| {
                    key == id || (!row.group.is_empty() && other.kind == row.kind && other.group == row.group)
                })
            })
        });
        marked.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))?;
        return Ok(Some(link));
    }
    if id < first_seen(control, ws)? {
        return Ok(None);
    }
    let row = ws.read()?.get(&NOTICES, &id)?.filter(|row| row.to.includes(me, role));
    let Some(row) = row else { return Ok(None) };
    let slug = &ws.row().slug;
    let link = if row.link.starts_with('/') { row.link } else { format!("/w/{slug}/{}", row.link) };
    ws.note(move |tx| {
        tx.put(&NOTICES_READ, &(id, me), &())?;
        if !row.group.is_empty() {
            for (other, same) in tx.scan(&NOTICES).reverse().limit(LOOKED_AT).rows()? {
                if same.kind == row.kind && same.group == row.group && same.to.includes(me, role) {
                    tx.put(&NOTICES_READ, &(other, me), &())?;
                }
            }
        }
        tx.announce(notices_of(me));
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(Some(link))
}

/// Everything this person has here is read.
pub async fn mark_all(control: &Control, ws: &Viewer) -> Result<(), StoreError> {
    let me = ws.account();
    ws.note(move |tx| {
        let mut newest = None;
        tx.scan(&NOTICES).reverse().limit(1).each(|id, _| {
            newest = Some(id);
            true
        })?;
        if let Some(newest) = newest {
            tx.put(&NOTICES_SEEN, &me, &newest)?;
        }
        tx.announce(notices_of(me));
        Ok::<_, StoreError>(())
    })
    .await?;
    let this = control.clone();
    let marked = tokio::task::spawn_blocking(move || {
        this.touch::<StoreError>(|tx| {
            this.tell_pages_of(me);
            mark(tx, me, |_, _| true)
        })
    });
    marked.await.unwrap_or_else(|e| Err(StoreError::Io(std::io::Error::other(e))))
}

fn mark(
    tx: &mut ControlTx,
    me: AccountId,
    fits: impl Fn(NoticeId, &super::records::AccountNoticeRow) -> bool,
) -> Result<(), StoreError> {
    for (key, mut row) in tx.scan(&ACCOUNT_NOTICES).under(&me).rows()? {
        if !row.read && fits(key.1, &row) {
            row.read = true;
            tx.put(&ACCOUNT_NOTICES, &key, &row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(n: u8, unread: bool) -> Item {
        Item {
            id: NoticeId::from_bytes([n; 16]),
            kind: Kind::SyncFailed,
            title: format!("{n}"),
            body: String::new(),
            at: Timestamp::UNIX_EPOCH,
            unread,
            count: 1,
        }
    }

    #[test]
    fn a_group_is_one_line_with_its_count() {
        let found = vec![
            ("uat".to_owned(), item(9, false)),
            (String::new(), item(8, false)),
            ("uat".to_owned(), item(7, true)),
            (String::new(), item(6, false)),
        ];
        let items = grouped(found);
        let seen: Vec<_> = items.iter().map(|i| (i.title.as_str(), i.count, i.unread)).collect();
        assert_eq!(seen, [("9", 2, true), ("8", 1, false), ("6", 1, false)]);
    }
}
