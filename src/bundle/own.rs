//! A person's data: the account with all that belongs to it, and of every workspace they are a member of the rows that are
//! theirs.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::manifest::{self, LeftOut, README};
use super::spool::{Spool, Spooled};
use super::table::Source;
use super::write::{Part, pack};
use super::{BundleError, claims, own_schema, tables};
use crate::identity::Control;
use crate::identity::accounts::ACCOUNTS;
use crate::identity::address::ADDRESS_CHANGES;
use crate::identity::memberships::{MEMBERSHIPS, VISITS, WORKSPACES};
use crate::identity::passkeys::PASSKEYS;
use crate::identity::sessions::SESSIONS;
use crate::identity::sso::ACCOUNT_LINKS;
use crate::identity::tokens::TOKENS;
use crate::ids::AccountId;
use crate::notifications::records::{ACCOUNT_NOTICES, choices};
use crate::store::audit::{AUDIT, AuditEvent};
use crate::store::{Read, StoreError};
use crate::web::Web;
use crate::workspace::Refused;

/// Writes a person's data into a spool. Blocks.
pub fn collect(web: &Web, account: AccountId, at: Timestamp) -> Result<Spooled, BundleError> {
    let mut sources = Vec::new();
    for (id, row, role) in web.control.workspaces_of(account)? {
        let ws = web.door.for_runner(id).map_err(shut)?;
        sources.push((row.slug.clone(), Source::own(&ws, &row.slug, account, role)?));
    }
    let mut spool = Spool::create(web.pool.data().root(), web.control.random())?;
    let left_out = left_out();
    let all = tables::all();
    let of_account = of_account(&web.control, account)?;
    let mut parts = vec![Part::bytes(README, manifest::readme(None, &left_out).into_bytes())];
    let of_tables =
        all.iter().filter(|table| table.has_own()).map(|table| (table.name(), table.schema(true)));
    for (name, schema) in own_schema::all().into_iter().chain(of_tables) {
        let schema = serde_json::to_vec_pretty(&schema).map_err(std::io::Error::other)?;
        parts.push(Part::bytes(format!("schema/{name}.json"), schema));
    }
    for (name, records) in &of_account {
        parts.push(Part::records(format!("records/{name}.ndjson"), records));
    }
    for (slug, source) in &sources {
        for table in all.iter().filter(|table| table.has_own()) {
            let path = format!("workspaces/{slug}/records/{}.ndjson", table.name());
            parts.push(Part::table(path, table.as_ref(), source));
        }
    }
    pack(None, left_out, at, &parts, &mut spool, &mut |_, _| Ok(()))?;
    Ok(spool.finish()?)
}

fn shut(refused: Refused) -> BundleError {
    match refused {
        Refused::Data(error) => error.into(),
        other => BundleError::Refused(other.to_string()),
    }
}

fn left_out() -> Vec<LeftOut> {
    let secrets = claims::FIELDS
        .iter()
        .filter(|(what, _)| what.starts_with("accounts") || what.starts_with("passkeys"));
    let secrets = secrets.map(|(what, why)| LeftOut {
        what: (*what).to_owned(),
        reason: claims::Reason::Secret,
        why: (*why).to_owned(),
    });
    let tables = claims::TABLES.iter().filter_map(|(table, claim)| match claim {
        claims::Claim::LeftOut(claims::Reason::Secret, why) => Some(LeftOut {
            what: (*table).to_owned(),
            reason: claims::Reason::Secret,
            why: (*why).to_owned(),
        }),
        _ => None,
    });
    let shared = LeftOut {
        what: "orgs, documents, findings, change sets".into(),
        reason: claims::Reason::Elsewhere,
        why: "they belong to the workspace; its owners export them".into(),
    };
    secrets.chain(tables).chain([shared]).collect()
}

type Named = (&'static str, Vec<Value>);

/// What the control file knows of an account, by table.
fn of_account(control: &Control, id: AccountId) -> Result<Vec<Named>, StoreError> {
    let read = control.read()?;
    let mut account = json!(read.get(&ACCOUNTS, &id)?);
    if let Some(fields) = account.as_object_mut() {
        let password = fields.shift_remove("password");
        fields.insert("has_password".into(), json!(password.is_some_and(|p| !p.is_null())));
        fields.shift_insert(0, "id".into(), json!(id));
    }
    let address = read.get(&ADDRESS_CHANGES, &id)?;
    let address = address.map(|a| json!({ "from": a.from, "to": a.to, "ends": a.ends, "made": a.made }));
    let totp = control.totp_of(id)?;
    let totp =
        totp.map(|t| json!({ "since": t.since, "codes_made": t.codes_made, "codes_left": t.codes_left() }));
    Ok(vec![
        ("account_audit", lines(&read, id)?),
        ("account_notices", notices(&read, id)?),
        ("accounts", vec![account]),
        ("address_changes", address.into_iter().collect()),
        ("memberships", memberships(&read, id)?),
        ("notice_choices", vec![json!(choices(&read, id)?)]),
        ("passkeys", passkeys(&read, id)?),
        ("sessions", sessions(&read, id)?),
        ("sso_account_links", links(&read, id)?),
        ("tokens", tokens(&read, id)?),
        ("totp", totp.into_iter().collect()),
    ])
}

/// What the person was told, without who else was meant.
fn notices(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let rows = read.scan(&ACCOUNT_NOTICES).under(&id).rows()?;
    let shown = rows.into_iter().map(|((_, notice), row)| {
        json!({
            "id": notice, "at": row.at, "kind": row.kind, "title": row.title, "body": row.body, "link": row.link,
            "read": row.read,
        })
    });
    Ok(shown.collect())
}

fn memberships(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let mut shown = Vec::new();
    for ((_, workspace), membership) in read.scan(&MEMBERSHIPS).under(&id).rows()? {
        let row = read.get(&WORKSPACES, &workspace)?;
        shown.push(json!({
            "workspace": workspace, "name": row.as_ref().map(|r| &r.name), "slug": row.as_ref().map(|r| &r.slug),
            "role": membership.role, "joined": membership.joined, "visited": read.get(&VISITS, &(id, workspace))?,
        }));
    }
    Ok(shown)
}

fn passkeys(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let rows = read.scan(&PASSKEYS).under(&id).rows()?;
    let shown = rows.into_iter().map(|((_, passkey), row)| {
        json!({ "id": passkey, "name": row.name, "added": row.added, "used": row.used })
    });
    Ok(shown.collect())
}

fn sessions(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let mut shown = Vec::new();
    read.scan(&SESSIONS).each(|_, row| {
        if row.account == id {
            shown.push(json!({
                "id": row.id, "created": row.created, "seen": row.seen, "address": row.address,
                "user_agent": row.user_agent, "confirmed": row.confirmed,
            }));
        }
        true
    })?;
    Ok(shown)
}

fn links(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let rows = read.scan(&ACCOUNT_LINKS).under(&id).rows()?;
    let shown = rows
        .into_iter()
        .map(|(_, link)| json!({ "issuer": link.issuer, "subject": link.subject, "linked": link.linked }));
    Ok(shown.collect())
}

fn tokens(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let rows = read.scan(&TOKENS).under(&id).rows()?;
    let shown = rows.into_iter().map(|((_, workspace, token), row)| {
        json!({
            "id": token, "workspace": workspace, "name": row.name, "begins": row.shown, "scopes": row.scopes,
            "created": row.created, "expires": row.expires, "revoked": row.revoked, "used": row.used,
        })
    });
    Ok(shown.collect())
}

/// Lines of the instance's audit log: what the person did, and what was done to them. Who else did it stays out.
fn lines(read: &impl Read, id: AccountId) -> Result<Vec<Value>, StoreError> {
    let (mut shown, me) = (Vec::new(), id.to_string());
    read.scan(&AUDIT).each(|line, event| {
        let AuditEvent { at, actor, action, target, workspace, .. } = event;
        let mine = actor.account() == Some(id);
        if mine || target == me {
            let actor = if mine { json!(actor) } else { json!({ "kind": json!(actor)["kind"] }) };
            shown.push(json!({
                "line": line, "at": at, "actor": actor, "action": action, "workspace": workspace,
                "target": target,
            }));
        }
        true
    })?;
    Ok(shown)
}
