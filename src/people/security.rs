//! Sign-in and security of an account: its authenticator app with recovery codes, its passkeys, its password and
//! where it is signed in.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use jiff::Timestamp;
use qrcodegen::{QrCode, QrCodeEcc};
use serde::Deserialize;

use super::device::device;
use super::passkeys::Section;
use crate::identity::control::Note;
use crate::identity::{Control, ControlTx};
use crate::identity::{IdentityError, Required, Via};
use crate::ids::{AccountId, SessionId};
use crate::mail::{FactorChange, Letter};
use crate::notifications::{self, Kind, Notice};
use crate::seal::Secret;
use crate::store::StoreError;
use crate::store::audit::Action;
use crate::web::access::session_of;
use crate::web::page::{render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Confirmed, Crumb, Me, PostForm, Problem, Shell, Web, page};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/account/security", web::get().to(show))
        .route("/account/security/codes", web::post().to(renew_codes))
        .route("/account/security/sessions/end", web::post().to(end_others))
        .route("/account/security/sessions/{session}/end", web::post().to(end_one))
        .route("/account/security/totp", web::get().to(enrol))
        .route("/account/security/totp", web::post().to(turn_on))
        .route("/account/security/totp/begin", web::post().to(begin))
        .route("/account/security/totp/off", web::post().to(turn_off));
}

/// Where the page is.
pub(super) const HERE: &str = "/account/security";

/// Where the browser is signed in.
struct Row {
    id: SessionId,
    device: String,
    address: String,
    used: String,
    here: bool,
}

#[derive(Template)]
#[template(path = "people/security.html")]
struct SecurityPage {
    shell: Shell,
    errors: Vec<FieldError>,
    saved: &'static str,
    /// The instance asks for a second factor and this account has none yet.
    required: bool,
    /// Since when the app is on, and how many recovery codes are left.
    totp: Option<(String, usize)>,
    passkeys: Section,
    /// The account has a password.
    password: bool,
    sessions: Vec<Row>,
}

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    saved: String,
}

fn view(web: &Web, me: &Me, saved: &str, errors: Vec<FieldError>) -> Result<SecurityPage, Problem> {
    let control = &web.control;
    let here = if let Via::Session { id, .. } = me.via() { Some(*id) } else { None };
    let sessions = control.sessions_of(me.account())?.into_iter().map(|session| Row {
        device: device(&session.user_agent),
        used: format!("last used {}", minute(session.seen)),
        here: Some(session.id) == here,
        id: session.id,
        address: session.address,
    });
    let factors = control.second_factors(me.account())?;
    let said = [
        ("password", "Your password is changed. Every other session has ended."),
        ("off", "The authenticator app is off. Its recovery codes no longer work."),
        ("passkey", "Your passkey is added. It signs you in from now on."),
        ("renamed", "Your passkey has its new name."),
        ("removed", "Your passkey is removed. It signs you in no more."),
        ("ended", "That session has ended."),
        ("others", "Every other session has ended."),
    ];
    Ok(SecurityPage {
        shell: Shell::account(web, me, "Sign-in and security")?,
        errors,
        saved: said.iter().find(|(name, _)| *name == saved).map_or("", |(_, text)| text),
        required: web.settings().wants_second_factor(me.person().operator) && !factors.any(),
        totp: control.totp_of(me.account())?.map(|kept| (day(kept.since), kept.codes_left())),
        passkeys: Section::of(web, me)?,
        password: me.person().password.is_some(),
        sessions: sessions.collect(),
    })
}

fn day(at: Timestamp) -> String {
    at.strftime("%-d %b %Y").to_string()
}

fn minute(at: Timestamp) -> String {
    at.strftime("%-d %b %Y %H:%M UTC").to_string()
}

async fn show(web: web::Data<Web>, me: Me, query: web::Query<Query>) -> Result<HttpResponse, Problem> {
    page::render(&view(&web, &me, &query.saved, Vec::new())?)
}

/// The page once more, with what was wrong.
pub(super) fn again(
    web: &Web,
    me: &Me,
    field: &str,
    message: &str,
    status: StatusCode,
) -> Result<HttpResponse, Problem> {
    let errors = vec![FieldError { field: field.into(), message: message.into() }];
    render_with(status, &view(web, me, "", errors)?)
}

/// Tells the account, in the app and by mail.
pub(super) fn tell(
    tx: &mut ControlTx,
    control: &Control,
    account: AccountId,
    what: FactorChange,
) -> Result<(), StoreError> {
    let title = match what {
        FactorChange::CodeUsed => "A recovery code was used to sign in",
        FactorChange::CodesRenewed => "Your recovery codes were replaced",
        FactorChange::PasskeyAdded => "A passkey was added to your account",
        FactorChange::PasskeyCopied => "A copy of your passkey was refused",
        FactorChange::PasskeyRemoved => "A passkey was removed from your account",
        FactorChange::TotpAdded => "An authenticator app was added to your account",
        FactorChange::TotpRemoved => "The authenticator app was removed from your account",
    };
    let letter = Letter::SecondFactorChanged { what, at: control.clock().now() };
    let notice = Notice { letter: Some(letter), ..Notice::new(Kind::SecurityChanged, title, HERE) };
    notifications::tell(tx, control, account, notice).map(|_| ())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

async fn begin(web: web::Data<Web>, me: Confirmed, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (state, who) = (web.clone(), (**me).clone());
    web::block(move || state.control.begin_totp(&who)).await??;
    Ok(see_other("/account/security/totp"))
}

#[derive(Template)]
#[template(path = "people/totp.html")]
struct EnrolPage {
    shell: Shell,
    errors: Vec<FieldError>,
    /// The key in groups of four.
    key: String,
    /// Modules of the QR code with its quiet zone, and the dark ones as an SVG path.
    size: i32,
    path: String,
}

fn enrolment(web: &Web, me: &Me, errors: Vec<FieldError>) -> Result<Option<EnrolPage>, Problem> {
    let Some(waits) = web.control.pending_totp(me)? else { return Ok(None) };
    let code = QrCode::encode_text(waits.url.expose(), QrCodeEcc::Medium)
        .map_err(|error| Problem::Broken(format!("QR code: {error}")))?;
    let groups: Vec<&str> =
        waits.key.expose().as_bytes().chunks(4).filter_map(|g| std::str::from_utf8(g).ok()).collect();
    let up = vec![Crumb::new("Sign-in and security", HERE)];
    Ok(Some(EnrolPage {
        shell: Shell::account(web, me, "Add an authenticator app")?.under(up),
        errors,
        key: groups.join(" "),
        size: code.size() + 2 * QUIET,
        path: dark_modules(&code),
    }))
}

/// Light modules around a QR code that readers need (ISO/IEC 18004: four).
const QUIET: i32 = 4;

/// Runs of dark modules as rectangles one module high.
fn dark_modules(code: &QrCode) -> String {
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or_default();
            if run > 0 {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET));
            }
            x += run.max(1);
        }
    }
    path
}

async fn enrol(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    match enrolment(&web, &me, Vec::new())? {
        Some(page) => page::render(&page),
        None => Ok(see_other(HERE)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstCode {
    code: String,
}

async fn turn_on(
    web: web::Data<Web>,
    me: Me,
    PostForm(form): PostForm<FirstCode>,
) -> Result<HttpResponse, Problem> {
    let tries = format!("enrol {}", me.account());
    web.throttle.check(&tries)?;
    let (control, who) = (web.control.clone(), (*me).clone());
    let note = Note::new(me.actor(), Action::SecondFactorAdded, me.account());
    let turned = web
        .control
        .change(note, move |tx| {
            let codes = control.turn_on_totp(tx, &who, &form.code)?;
            tell(tx, &control, who.account(), FactorChange::TotpAdded)?;
            Ok::<_, IdentityError>(codes)
        })
        .await;
    match turned {
        Ok(codes) => {
            web.throttle.passed(&tries);
            shown(&web, &me, "The authenticator app is on", codes)
        }
        Err(error @ IdentityError::WrongCode) => {
            web.throttle.failed(&tries);
            let errors = vec![FieldError { field: "code".into(), message: super::sentence(&error) }];
            match enrolment(&web, &me, errors)? {
                Some(page) => render_with(StatusCode::UNPROCESSABLE_ENTITY, &page),
                None => Ok(see_other(HERE)),
            }
        }
        Err(error @ IdentityError::NothingToTurnOn) => {
            again(&web, &me, "", &super::sentence(&error), StatusCode::UNPROCESSABLE_ENTITY)
        }
        Err(other) => Err(other.into()),
    }
}

#[derive(Template)]
#[template(path = "people/codes.html")]
struct CodesPage {
    shell: Shell,
    what: &'static str,
    codes: Vec<Secret>,
}

/// Recovery codes, shown this once.
fn shown(web: &Web, me: &Me, what: &'static str, codes: Vec<Secret>) -> Result<HttpResponse, Problem> {
    let up = vec![Crumb::new("Sign-in and security", HERE)];
    let shell = Shell::account(web, me, "Recovery codes")?.under(up);
    page::render(&CodesPage { shell, what, codes })
}

async fn renew_codes(
    web: web::Data<Web>,
    me: Confirmed,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (control, account) = (web.control.clone(), me.account());
    let note = Note::new(me.actor(), Action::RecoveryCodesRenewed, account);
    let codes = web
        .control
        .change(note, move |tx| {
            let codes = control.renew_codes(tx, account)?;
            tell(tx, &control, account, FactorChange::CodesRenewed)?;
            Ok::<_, IdentityError>(codes)
        })
        .await?;
    shown(&web, &me, "These are your new recovery codes", codes)
}

async fn turn_off(web: web::Data<Web>, me: Confirmed, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let (control, account, operator) = (web.control.clone(), me.account(), me.person().operator);
    let note = Note::new(me.actor(), Action::SecondFactorRemoved, account);
    let gone = web
        .control
        .change(note, move |tx| {
            if control.turn_off_totp(tx, account, operator)? {
                tell(tx, &control, account, FactorChange::TotpRemoved)?;
            }
            Ok::<_, IdentityError>(())
        })
        .await;
    match gone {
        Ok(()) => Ok(see_other("/account/security?saved=off")),
        Err(error @ IdentityError::LastFactor) => {
            again(&web, &me, "", &super::sentence(&error), StatusCode::CONFLICT)
        }
        Err(other) => Err(other.into()),
    }
}

async fn end_one(
    web: web::Data<Web>,
    me: Me,
    session: web::Path<SessionId>,
    _: PostForm<Nothing>,
) -> Result<HttpResponse, Problem> {
    let (control, account, id) = (web.control.clone(), me.account(), *session);
    let note = Note::new(me.actor(), Action::SessionEnded, id);
    let found = web.control.change(note, move |tx| control.end_session(tx, account, id)).await?;
    if found { Ok(see_other("/account/security?saved=ended")) } else { Err(Problem::NotFound) }
}

async fn end_others(web: web::Data<Web>, me: Me, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    let Via::Session { id: here, .. } = me.via().clone() else { return Err(Problem::SignIn) };
    let (control, account) = (web.control.clone(), me.account());
    let note = Note::new(me.actor(), Action::SessionEnded, account);
    web.control.change(note, move |tx| control.end_sessions(tx, account, Some(here))).await?;
    Ok(see_other("/account/security?saved=others"))
}

/// Where an account goes first that must have a second factor and has none; nothing else answers it.
pub fn enrol_first(request: &HttpRequest) -> Option<HttpResponse> {
    let web = request.app_data::<web::Data<Web>>()?;
    let settings = web.settings();
    let path = request.path();
    let open = [
        "/account/close",
        "/account/confirm",
        "/account/passkeys",
        "/account/security",
        "/api/",
        "/password-strength",
        "/sign-in",
        "/sign-out",
    ];
    if settings.require_second_factor == Required::No || open.iter().any(|start| path.starts_with(start)) {
        return None;
    }
    let who = session_of(request)?;
    let wanted = settings.wants_second_factor(who.person().operator);
    let has = web.control.second_factors(who.account()).is_ok_and(crate::identity::SecondFactors::any);
    (wanted && !has).then(|| see_other(HERE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_qr_code_draws_every_dark_module_once() {
        let code = QrCode::encode_text("otpauth://totp/Vynos:a?secret=ABCDEFGH", QrCodeEcc::Medium).unwrap();
        let dark = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        let dark = dark.filter(|(x, y)| code.get_module(*x, *y)).count();
        let path = dark_modules(&code);
        let drawn: usize = path
            .split('M')
            .skip(1)
            .map(|run| run.split(['h', 'v']).nth(1).unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(drawn, dark);
    }
}
