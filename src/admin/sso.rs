//! The single sign-on provider of the instance: its form, a test that really asks it, saving, removing.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use url::Url;

use super::Nothing;
use crate::identity::sso::{Entered, Kept, Mapping, Sso, SsoError};
use crate::identity::{Control, Email, IdentityError, Role};
use crate::seal::Secret;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Operator, PostForm, Problem, Shell, Web, page};

/// Lines of the group mapping that are kept.
const MOST_LINES: usize = 200;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/admin/sso", web::get().to(show))
        .route("/admin/sso", web::post().to(save))
        .route("/admin/sso/remove", web::post().to(remove));
}

/// The form. The secret comes back to no page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Typed {
    issuer: String,
    client_id: String,
    secret: String,
    label: String,
    scopes: String,
    ca: String,
    groups_claim: String,
    mapping: String,
    join: String,
    domains: String,
    second_factor: String,
    only: String,
    break_glass: String,
    /// `test` saves nothing.
    act: String,
}

impl Typed {
    fn of(control: &Control, kept: Option<Kept>, me: &Operator) -> Result<Self, Problem> {
        let Some(kept) = kept else {
            return Ok(Self {
                label: "single sign-on".into(),
                scopes: "openid email profile".into(),
                groups_claim: "groups".into(),
                break_glass: me.person().email.to_string(),
                ..Self::default()
            });
        };
        let mut mapping = String::new();
        for line in &kept.mapping {
            if let Some(row) = control.workspace(line.workspace)? {
                mapping.push_str(&format!("{} = {}: {}\n", line.group, row.slug, line.role.name()));
            }
        }
        let mut break_glass = String::new();
        for id in kept.break_glass {
            if let Some(account) = control.account(id)? {
                break_glass.push_str(&format!("{}\n", account.email));
            }
        }
        let checked = |on: bool| if on { "yes".to_owned() } else { String::new() };
        Ok(Self {
            issuer: kept.issuer,
            client_id: kept.client_id,
            label: kept.label,
            scopes: kept.scopes.join(" "),
            ca: kept.ca.unwrap_or_default(),
            groups_claim: kept.groups_claim,
            mapping,
            join: checked(kept.join),
            domains: kept.domains.join(" "),
            second_factor: checked(kept.second_factor),
            only: checked(kept.only),
            break_glass,
            ..Self::default()
        })
    }

    fn read(&self, control: &Control) -> Result<Result<Entered, Vec<FieldError>>, Problem> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, message: String| errors.push(FieldError { field: field.into(), message });
        let issuer = self.issuer.trim().to_owned();
        let url = Url::parse(&issuer).ok().filter(|url| url.host().is_some() && url.query().is_none());
        if !url.is_some_and(|url| matches!(url.scheme(), "https" | "http")) || issuer.len() > 500 {
            wrong("issuer", "Enter the issuer’s full address, such as https://id.halden.example".into());
        }
        let client_id = self.client_id.trim().to_owned();
        if client_id.is_empty() || client_id.len() > 500 || client_id.contains(char::is_whitespace) {
            wrong("client_id", "Enter the client ID that the provider gave this instance".into());
        }
        let secret = self.secret.trim().to_owned();
        if secret.len() > 1000 || !secret.chars().all(|c| c.is_ascii_graphic()) {
            wrong("secret", "A client secret has no spaces and at most 1,000 characters".into());
        }
        let label = self.label.trim().to_owned();
        if label.is_empty() || label.chars().count() > 60 || label.chars().any(char::is_control) {
            wrong("label", "Enter 1 to 60 characters for the button".into());
        }
        let groups_claim = self.groups_claim.trim().to_owned();
        if groups_claim.len() > 200 || groups_claim.contains(char::is_whitespace) {
            wrong("groups_claim", "A claim’s name has no spaces and at most 200 characters".into());
        }
        let ca = self.ca.trim().to_owned();
        if !ca.is_empty() && (ca.len() > 64 << 10 || !crate::wire::mail::valid_ca(&ca)) {
            wrong("ca", "Paste the certificate as PEM: it begins with -----BEGIN CERTIFICATE-----".into());
        }
        let words = |text: &str| -> Vec<String> {
            let parts = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
            parts.take(MOST_LINES).map(str::to_owned).collect()
        };
        let domains: Vec<String> = words(&self.domains.to_lowercase());
        if let Some(bad) = domains.iter().find(|d| format!("x@{d}").parse::<Email>().is_err()) {
            wrong("domains", format!("{bad} is no domain of e-mail addresses"));
        }
        let mut mapping = Vec::new();
        for (n, line) in self.mapping.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match mapped(control, line)? {
                Ok(line) if mapping.len() < MOST_LINES => mapping.push(line),
                Ok(_) => wrong("mapping", format!("At most {MOST_LINES} lines are kept")),
                Err(why) => wrong("mapping", format!("Line {}: {why}", n + 1)),
            }
        }
        let mut break_glass = Vec::new();
        for address in words(&self.break_glass) {
            match address.parse::<Email>().map(|email| control.account_by_address(&email)) {
                Ok(found) => match found? {
                    Some((id, _)) => break_glass.push(id),
                    None => wrong("break_glass", format!("There is no account with the address {address}")),
                },
                Err(_) => wrong("break_glass", format!("{address} is no e-mail address")),
            }
        }
        if !errors.is_empty() {
            return Ok(Err(errors));
        }
        Ok(Ok(Entered {
            issuer,
            client_id,
            secret: (!secret.is_empty()).then(|| Secret::new(secret)),
            label,
            scopes: words(&self.scopes),
            ca: (!ca.is_empty()).then_some(ca),
            groups_claim,
            mapping,
            join: !self.join.is_empty(),
            domains,
            second_factor: !self.second_factor.is_empty(),
            only: !self.only.is_empty(),
            break_glass,
        }))
    }
}

/// `group = workspace: role`.
fn mapped(control: &Control, line: &str) -> Result<Result<Mapping, String>, Problem> {
    let parts = line.rsplit_once('=').and_then(|(group, to)| Some((group.trim(), to.rsplit_once(':')?)));
    let Some((group, (slug, role))) = parts.filter(|(group, _)| !group.is_empty() && group.len() <= 300)
    else {
        return Ok(Err("write “group = workspace: role”".into()));
    };
    let role = match role.trim() {
        "viewer" => Role::Viewer,
        "member" => Role::Member,
        "admin" => Role::Admin,
        "owner" => Role::Owner,
        other => return Ok(Err(format!("“{other}” is no role; use viewer, member, admin or owner"))),
    };
    Ok(match control.workspace_by_slug(slug.trim())? {
        Some((workspace, _)) => Ok(Mapping { group: group.to_owned(), workspace, role }),
        None => Err(format!("there is no workspace “{}”", slug.trim())),
    })
}

#[derive(Template)]
#[template(path = "admin/sso.html")]
struct SsoPage {
    shell: Shell,
    typed: Typed,
    errors: Vec<FieldError>,
    configured: bool,
    has_secret: bool,
    callback: String,
    /// What a test found.
    found: Vec<(&'static str, String)>,
    saved: bool,
    /// A secret was typed, and pages never show one again.
    secret_again: bool,
}

impl SsoPage {
    fn new(web: &Web, sso: &Sso, me: &Operator, typed: Option<Typed>) -> Result<Self, Problem> {
        let kept = sso.kept()?;
        let (configured, has_secret) = (kept.is_some(), kept.as_ref().is_some_and(|k| k.secret.is_some()));
        let typed = match typed {
            Some(typed) => typed,
            None => Typed::of(&web.control, kept, me)?,
        };
        let shell = Shell::account(web, me, "Single sign-on")?;
        let callback = sso.callback().to_string();
        let (errors, found) = (Vec::new(), Vec::new());
        Ok(Self {
            shell,
            typed,
            errors,
            configured,
            has_secret,
            callback,
            found,
            saved: false,
            secret_again: false,
        })
    }

    fn wrong(self, errors: Vec<FieldError>) -> Result<HttpResponse, Problem> {
        render_with(StatusCode::UNPROCESSABLE_ENTITY, &Self { errors, ..self })
    }
}

async fn show(web: web::Data<Web>, sso: web::Data<Sso>, me: Operator) -> Result<HttpResponse, Problem> {
    page::render(&SsoPage::new(&web, &sso, &me, None)?)
}

async fn save(
    web: web::Data<Web>,
    sso: web::Data<Sso>,
    me: Operator,
    _: Confirmed,
    PostForm(typed): PostForm<Typed>,
) -> Result<HttpResponse, Problem> {
    let only_test = typed.act == "test";
    let shown = Typed { secret: String::new(), ..typed.clone() };
    let view = SsoPage::new(&web, &sso, &me, Some(shown))?;
    let view = SsoPage { secret_again: !typed.secret.is_empty(), ..view };
    let entered = match typed.read(&web.control)? {
        Ok(entered) => entered,
        Err(errors) => return view.wrong(errors),
    };
    let provider = match sso.test(&entered, me.account()).await {
        Ok(provider) => provider,
        Err(error) => {
            let message = format!("{error}. Nothing was saved.");
            return view.wrong(vec![FieldError { field: "issuer".into(), message }]);
        }
    };
    let found = provider.found();
    if only_test {
        return page::render(&SsoPage { found, ..view });
    }
    let (store, actor) = (sso.clone(), me.actor());
    match web::block(move || store.save(actor, entered, &provider)).await? {
        Ok(()) => {
            let view = SsoPage::new(&web, &sso, &me, None)?;
            page::render(&SsoPage { found, saved: true, ..view })
        }
        Err(SsoError::Identity(IdentityError::Invalid(message))) => {
            view.wrong(vec![FieldError { field: "break_glass".into(), message }])
        }
        Err(SsoError::Identity(error)) => Err(error.into()),
        Err(error) => Err(Problem::Broken(error.to_string())),
    }
}

async fn remove(
    sso: web::Data<Sso>,
    me: Operator,
    _: Confirmed,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (store, actor) = (sso.clone(), me.actor());
    web::block(move || store.remove(actor)).await??;
    Ok(see_other("/admin/sso"))
}
