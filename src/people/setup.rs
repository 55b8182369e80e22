//! The first-run wizard: one task a page. Until it has ended no other page answers (`gate`).

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::sign_in::with_cookie;
use crate::identity::accounts::ACCOUNTS;
use crate::identity::control::Note;
use crate::identity::settings::SETTINGS;
use crate::identity::{Control, IdentityError, SignedIn, WorkspaceRow};
use crate::ids::{AccountId, WorkspaceId};
use crate::mail::{MailFields, MailServer, Whose};
use crate::models::{ModelFields, Models};
use crate::seal::{RecoveryCode, Secret};
use crate::store::Read as _;
use crate::store::audit::{Action, Actor};
use crate::web::access::{origin, request_id};
use crate::web::form::OpenForm;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Blank, Me, PostForm, Problem, Web, page, tls};

/// Names of the steps, in order.
const STEPS: [(&str, &str); 6] = [
    ("Owner account", "The first person of this instance"),
    ("Address and TLS", "Where people reach Vynos"),
    ("Recovery code", "Opens backups if the server is lost"),
    ("Model", "Who answers in chat"),
    ("Mail", "Optional: invitations and notices"),
    ("Workspace", "Where your team works"),
];
const LAST: u8 = STEPS.len() as u8;
pub(super) const MODEL_STEP: u8 = 4;
pub(super) const MAIL_STEP: u8 = 5;
/// The group of the recovery code that is asked back, from 0.
const ASKED_GROUP: usize = 5;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/setup", web::get().to(show))
        .route("/setup/account", web::post().to(first_account))
        .route("/setup/address", web::post().to(address))
        .route("/setup/recovery", web::post().to(make_code))
        .route("/setup/recovery/check", web::post().to(check_code))
        .route("/setup/workspace", web::post().to(workspace))
        .route("/ca.pem", web::get().to(local_ca));
}

/// Sends everybody to the wizard until it has ended, and nobody after.
pub async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let path = request.path();
    let open = path == "/setup" || path.starts_with("/setup/") || path.starts_with("/assets/");
    let open = open || matches!(path, "/healthz" | "/readyz" | "/metrics" | "/ca.pem" | "/password-strength");
    let set_up = request.app_data::<web::Data<Web>>().is_some_and(|web| web.settings().set_up);
    if set_up
        && !open
        && let Some(answer) = super::security::enrol_first(request.request())
    {
        return Ok(request.into_response(answer).map_into_right_body());
    }
    if set_up || open {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let answer = if request.method() == actix_web::http::Method::GET && !path.starts_with("/api/") {
        see_other("/setup")
    } else {
        HttpResponse::ServiceUnavailable().finish()
    };
    Ok(request.into_response(answer).map_into_right_body())
}

#[derive(Template)]
#[template(path = "people/setup.html")]
pub(super) struct SetupPage {
    shell: Blank,
    step: u8,
    steps: [(&'static str, &'static str); STEPS.len()],
    pub csrf: String,
    pub errors: Vec<FieldError>,
    pub fields: ModelFields,
    pub mail: MailFields,
    email: String,
    name: String,
    address: String,
    reached_here: bool,
    fingerprint: String,
    code: Vec<String>,
    version: &'static str,
}

impl SetupPage {
    pub fn new(web: &Web, step: u8) -> Self {
        Self {
            shell: Blank::new(web, "Set up"),
            fields: ModelFields::of(None),
            mail: MailFields::default(),
            step,
            steps: STEPS,
            csrf: String::new(),
            errors: Vec::new(),
            email: String::new(),
            name: String::new(),
            address: web.external.as_str().trim_end_matches('/').to_owned(),
            reached_here: true,
            fingerprint: String::new(),
            code: Vec::new(),
            version: page::VERSION,
        }
    }

    fn again(mut self, problem: Problem) -> Result<HttpResponse, Problem> {
        let status = problem.status();
        match problem {
            Problem::Invalid(errors) => {
                self.errors = errors;
                render_with(StatusCode::UNPROCESSABLE_ENTITY, &self)
            }
            Problem::TooMany(seconds) => {
                let message = format!("Too many tries. Try again in {seconds} seconds.");
                self.errors = vec![FieldError { field: "code".into(), message }];
                render_with(status, &self)
            }
            other => Err(other),
        }
    }
}

/// The step that is open now. Behind the first one only the account that was made may go on.
fn open_step(web: &Web, me: Option<&SignedIn>) -> Result<u8, Problem> {
    let settings = web.settings();
    if settings.set_up {
        return Err(Problem::NotFound);
    }
    let step = settings.setup_step.max(1);
    if step > 1 && !me.is_some_and(|me| me.person().operator) {
        return Err(Problem::SignIn);
    }
    Ok(step)
}

async fn show(
    web: web::Data<Web>,
    models: web::Data<Models>,
    mail: web::Data<MailServer>,
    request: HttpRequest,
    visitor: crate::web::Visitor,
) -> Result<HttpResponse, Problem> {
    let step = match open_step(&web, visitor.me.as_deref()) {
        Err(Problem::NotFound) => return Ok(see_other("/")),
        Err(Problem::SignIn) => return Ok(see_other("/setup/sign-in")),
        other => other?,
    };
    let mut view = SetupPage::new(&web, step);
    view.csrf = visitor.me.as_ref().map(|me| me.csrf().to_owned()).unwrap_or_default();
    if step == 2 {
        view.fingerprint = ca(&web)?.map(|ca| ca.fingerprint()).unwrap_or_default();
        let host = request.headers().get("host").and_then(|v| v.to_str().ok()).unwrap_or_default();
        view.reached_here = web.external.as_str().contains(host);
    }
    if step == MODEL_STEP {
        view.fields = ModelFields::of(models.kept()?);
    }
    if step == MAIL_STEP
        && let Some(me) = &visitor.me
    {
        view.mail = MailFields::of(mail.kept(Whose::Instance)?, me.person().email.as_str());
    }
    page::render(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstAccount {
    code: String,
    name: String,
    email: String,
    password: String,
}

async fn first_account(
    web: web::Data<Web>,
    request: HttpRequest,
    OpenForm(form): OpenForm<FirstAccount>,
) -> Result<HttpResponse, Problem> {
    let from = origin(&request, &web);
    let view = SetupPage { email: form.email.clone(), name: form.name.clone(), ..SetupPage::new(&web, 1) };
    let key = format!("setup {}", from.address);
    if let Err(wait) = web.throttle.check(&key) {
        return view.again(wait.into());
    }
    if web.control.is_setup_code(&form.code).is_err() {
        web.throttle.failed(&key);
        return view.again(Problem::field("code", IdentityError::WrongSetupCode.to_string()));
    }
    let (control, secret) = (web.control.clone(), Secret::new(form.password));
    let made = web::block(move || {
        let new = Control::prepare_account(&form.email, &form.name, &secret, true)?;
        let note = Note::new(Actor::Visitor, Action::InstanceSetUp, "first account").asked_by(from.request);
        let id = control.change_now(note, |tx| {
            // Inside the one writer: of many first sign-ups at once exactly one finds no account.
            if tx.scan(&ACCOUNTS).limit(1).count()? > 0 {
                return Err(IdentityError::AlreadySetUp);
            }
            let id = control.insert_account(tx, new)?;
            let mut settings = tx.get(&SETTINGS, &0)?.unwrap_or_default();
            settings.setup_step = 2;
            tx.put(&SETTINGS, &0, &settings)?;
            Ok::<AccountId, IdentityError>(id)
        })?;
        control.start_session(id, from)
    })
    .await?;
    match made {
        Ok(token) => {
            web.refresh_settings()?;
            Ok(with_cookie(see_other("/setup"), &web, &token))
        }
        Err(IdentityError::AlreadySetUp) => Err(Problem::Conflict(
            "Somebody else made the first account a moment ago. Nothing was changed. Ask them for an invitation.".into(),
        )),
        Err(error) => view.again(named(error)),
    }
}

/// Puts the error of an account form at its field.
pub(super) fn named(error: IdentityError) -> Problem {
    match error {
        IdentityError::Invalid(message) if message.contains("e-mail") => Problem::field("email", message),
        IdentityError::Invalid(message) if message.contains("name of") => Problem::field("name", message),
        IdentityError::Invalid(message) => Problem::field("password", message),
        other => other.into(),
    }
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Steps need the account that was made first, on the step that is open.
pub(super) fn on_step(web: &Web, me: &Me, step: u8) -> Result<(), Problem> {
    if open_step(web, Some(me))? == step {
        Ok(())
    } else {
        Err(Problem::Conflict("This step is done already. Nothing was changed.".into()))
    }
}

pub(super) async fn advance(web: &web::Data<Web>, me: &Me, to: u8) -> Result<(), Problem> {
    let (control, actor) = (web.control.clone(), me.actor());
    web::block(move || control.change_settings(actor, |settings| settings.setup_step = to)).await??;
    Ok(web.refresh_settings()?)
}

async fn address(web: web::Data<Web>, me: Me, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, 2)?;
    advance(&web, &me, 3).await?;
    Ok(see_other("/setup"))
}

/// Makes the code and shows it in this one answer; only its wrapped key and a keyed hash of one group stay.
async fn make_code(web: web::Data<Web>, me: Me, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, 3)?;
    let (state, actor) = (web.clone(), me.actor());
    let groups = web::block(move || -> Result<Vec<String>, Problem> {
        let code = RecoveryCode::generate();
        let groups: Vec<String> = code.expose().split('-').map(str::to_owned).collect();
        let wrapped = code.wrap(&state.pool.data().recovery_key()?)?;
        let check = group_hash(&state.control, &groups[ASKED_GROUP]);
        state.control.change_settings(actor, |settings| {
            settings.recovery = Some(wrapped);
            settings.recovery_check = Some(check);
        })?;
        Ok(groups)
    })
    .await??;
    web.refresh_settings()?;
    page::render(&SetupPage { code: groups, csrf: me.csrf().to_owned(), ..SetupPage::new(&web, 3) })
}

fn group_hash(control: &Control, group: &str) -> String {
    let hash = control.lookups().lookup(format!("recovery group {group}").as_bytes());
    crate::seal::hex(&hash[..8])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeCheck {
    group: String,
    #[serde(default)]
    saved: String,
}

async fn check_code(
    web: web::Data<Web>,
    me: Me,
    PostForm(form): PostForm<CodeCheck>,
) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, 3)?;
    let typed = group_hash(&web.control, &form.group.trim().to_uppercase());
    if form.saved.is_empty() || web.settings().recovery_check.as_deref() != Some(typed.as_str()) {
        let view = SetupPage { csrf: me.csrf().to_owned(), ..SetupPage::new(&web, 3) };
        return view.again(Problem::field(
            "group",
            "That is not group 6 of the code. The code is not shown again: make a new one below if you did not save it.",
        ));
    }
    advance(&web, &me, MODEL_STEP).await?;
    Ok(see_other("/setup"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspaceForm {
    name: String,
}

async fn workspace(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    PostForm(form): PostForm<WorkspaceForm>,
) -> Result<HttpResponse, Problem> {
    on_step(&web, &me, LAST)?;
    let (state, who, by) = (web.clone(), me.account(), me.actor());
    let id = request_id(&request);
    let made = web::block(move || -> Result<WorkspaceRow, Problem> {
        let row = create_workspace(&state, by.clone(), who, &form.name, id)?;
        state.control.change_settings(by, |settings| settings.set_up = true)?;
        Ok(row)
    })
    .await?;
    match made {
        Ok(row) => {
            web.refresh_settings()?;
            Ok(see_other(&format!("/w/{}/", row.slug)))
        }
        Err(problem) => {
            SetupPage { csrf: me.csrf().to_owned(), ..SetupPage::new(&web, LAST) }.again(match problem {
                Problem::Invalid(errors) => Problem::Invalid(
                    errors.into_iter().map(|e| FieldError { field: "name".into(), ..e }).collect(),
                ),
                other => other,
            })
        }
    }
}

/// Makes a workspace with its first owner: files first, then the row that lets people in. Blocks.
pub fn create_workspace(
    web: &Web,
    by: Actor,
    owner: AccountId,
    name: &str,
    request: Option<crate::ids::RequestId>,
) -> Result<WorkspaceRow, Problem> {
    let id = WorkspaceId::new(web.control.clock(), web.control.random());
    crate::identity::accounts::display_name(name)?;
    web.pool.create(id)?;
    let note = Note::new(by, Action::WorkspaceCreated, id).in_workspace(id).asked_by(request);
    Ok(web.control.change_now(note, |tx| web.control.insert_workspace(tx, id, name, owner))?)
}

fn ca(web: &Web) -> Result<Option<tls::LocalCa>, Problem> {
    Ok(web.control.read()?.get(&tls::LOCAL_CA, &0)?)
}

/// The root certificate of the local CA, to install in browsers. No secret.
async fn local_ca(web: web::Data<Web>) -> Result<HttpResponse, Problem> {
    let ca = ca(&web)?.ok_or(Problem::NotFound)?;
    Ok(HttpResponse::Ok()
        .content_type("application/x-pem-file")
        .insert_header(("content-disposition", "attachment; filename=\"vynos-local-ca.pem\""))
        .body(ca.certificate_pem))
}
