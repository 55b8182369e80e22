//! The effective access page: for every member of a workspace what they may see and do in it, from the role table, the
//! deploy policies of its orgs and their API tokens. Nothing is kept here; the page is what the checks themselves ask.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::Timestamp;

use crate::identity::{ApiToken, Role, Scope};
use crate::orgs::records::{self, Org};
use crate::web::page::initials;
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/members/access", web::get().to(show));
}

/// PRODUCT, "Roles": what takes which role, but for deployments, where the org's policy decides.
const RIGHTS: [(&str, Role); 5] = [
    ("Read catalogue, findings and knowledge", Role::Viewer),
    ("Chat, upload documents, draft and validate change sets", Role::Member),
    ("Manage members, invitations and orgs", Role::Admin),
    ("Change settings and deploy policies, read the audit log", Role::Admin),
    ("Transfer ownership, make and change owners", Role::Owner),
];

struct OrgRow {
    name: String,
    kind: &'static str,
    policy: &'static str,
    /// `3 of 5 members`, `Nobody`.
    who: String,
}

struct Token {
    name: String,
    shown: String,
    scopes: String,
    ends: String,
}

struct Person {
    name: String,
    email: String,
    initials: String,
    role: Role,
    suspended: bool,
    operator: bool,
    deploys: Vec<String>,
    tokens: Vec<Token>,
}

#[derive(Template)]
#[template(path = "people/access.html")]
struct AccessPage {
    shell: Shell,
    slug: String,
    rights: [(&'static str, Role); 5],
    roles: [Role; 4],
    orgs: Vec<OrgRow>,
    people: Vec<Person>,
}

async fn show(web: web::Data<Web>, me: Me, ws: Admin) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Effective access", "members")?;
    let now = web.clock.now();
    let page = web::block(move || -> Result<_, Problem> {
        let orgs: Vec<Org> = records::all(&ws.read()?)?.into_iter().map(|(_, org)| org).collect();
        let members = web.control.people_of(ws.id())?;
        let mut people = Vec::new();
        for (id, account, role) in &members {
            let tokens = web.control.tokens_of(*id, ws.id())?;
            people.push(Person {
                name: account.name.clone(),
                email: account.email.to_string(),
                initials: initials(&account.name),
                role: *role,
                suspended: account.state != crate::identity::AccountState::Active,
                operator: account.operator,
                deploys: orgs.iter().filter(|org| deploys(org, *role)).map(|o| o.name.clone()).collect(),
                tokens: tokens.iter().filter_map(|(_, token)| shown(token, *role, now)).collect(),
            });
        }
        let orgs = orgs.iter().map(|org| {
            let able = members.iter().filter(|(_, _, role)| deploys(org, *role)).count();
            let who = if able == 0 { "Nobody".into() } else { format!("{able} of {}", members.len()) };
            OrgRow { name: org.name.clone(), kind: org.kind.label(), policy: org.policy().label(), who }
        });
        let (slug, orgs) = (ws.row().slug.clone(), orgs.collect());
        Ok(AccessPage { shell, slug, rights: RIGHTS, roles: Role::ALL, orgs, people })
    })
    .await??;
    page::render(&page)
}

/// Whether the org's policy lets the role deploy.
fn deploys(org: &Org, role: Role) -> bool {
    org.policy().least_role().is_some_and(|least| role >= least)
}

/// A token that still works, with the scopes that its owner's role leaves it.
fn shown(token: &ApiToken, role: Role, now: Timestamp) -> Option<Token> {
    let live = token.revoked.is_none() && token.expires.is_none_or(|at| at > now);
    live.then(|| {
        let scopes: Vec<&str> =
            token.scopes.iter().filter(|scope| role >= least(**scope)).map(|scope| scope.name()).collect();
        let ends = token
            .expires
            .map_or_else(|| "does not end".to_owned(), |at| format!("ends on {}", at.strftime("%-d %B %Y")));
        Token {
            name: token.name.clone(),
            shown: token.shown.clone(),
            scopes: if scopes.is_empty() { "nothing".to_owned() } else { scopes.join(", ") },
            ends,
        }
    })
}

/// The least role whose routes ask for the scope.
const fn least(scope: Scope) -> Role {
    match scope {
        Scope::Admin => Role::Admin,
        Scope::Change | Scope::Chat | Scope::Deploy | Scope::Upload => Role::Member,
        Scope::Read => Role::Viewer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(expires: Option<Timestamp>, revoked: Option<Timestamp>) -> ApiToken {
        ApiToken {
            name: "ci".into(),
            shown: "vyn_abcd".into(),
            scopes: vec![Scope::Read, Scope::Chat, Scope::Admin],
            created: Timestamp::UNIX_EPOCH,
            expires,
            revoked,
            used: None,
            told: false,
        }
    }

    #[test]
    fn a_token_shows_what_the_role_leaves_it_and_is_gone_when_it_ended() {
        let (now, later) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(200).unwrap());
        let scopes = |role| shown(&token(Some(later), None), role, now).unwrap().scopes;
        assert_eq!(scopes(Role::Viewer), "read");
        assert_eq!(scopes(Role::Member), "read, chat");
        assert_eq!(scopes(Role::Owner), "read, chat, admin");
        assert!(shown(&token(Some(now), None), Role::Owner, later).is_none());
        assert!(shown(&token(None, Some(now)), Role::Owner, later).is_none());
    }
}
