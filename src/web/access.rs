//! Who asks, and what they may reach. A handler names what it needs in its signature: [`Visitor`], [`Me`], or
//! a role of the workspace in the URL. One extractor reads cookie and bearer token; both at once is refused.

use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, REFERER, USER_AGENT};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::{Problem, Web};
use crate::identity::sessions::Origin;
use crate::identity::{IdentityError, Role, SessionToken, SignedIn, Via};
use crate::ids::{RequestId, WorkspaceId};
use crate::seal::Secret;
use crate::workspace::{Admin, Entered, Keeper, Member, Owner, Viewer};

/// Session cookie over TLS; the prefix binds it to this host and to `Secure`.
const SECURE_COOKIE: &str = "__Host-vynos";
/// On the demo's plain loopback address, where some browsers refuse the prefix.
const PLAIN_COOKIE: &str = "vynos";

/// The name of the session cookie here.
/// Every cookie that is ever set: name, what for, until when. There is one, under a plain name where browsers refuse the other.
pub const COOKIES: [(&str, &str, &str); 2] = [
    (
        SECURE_COOKIE,
        "Recognises your session, also while you are signing in. No script can read it, and it is only sent to this server.",
        "You sign out, or the session ends",
    ),
    (
        PLAIN_COOKIE,
        "The same, where Vynos runs without TLS on its own machine",
        "You sign out, or the session ends",
    ),
];

pub fn cookie_name(web: &Web) -> &'static str {
    if web.secure() { SECURE_COOKIE } else { PLAIN_COOKIE }
}

/// A signed-in account.
pub struct Me(Arc<SignedIn>);

impl std::ops::Deref for Me {
    type Target = SignedIn;
    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

/// A signed-in person who proved who they are a short while ago: for acts that a forgotten open browser must not do.
pub struct Confirmed(Me);

impl std::ops::Deref for Confirmed {
    type Target = Me;
    fn deref(&self) -> &Me {
        &self.0
    }
}

/// A signed-in person, also one whose account is about to be deleted: for keeping it, and for signing out.
pub struct Returning(Me);

impl std::ops::Deref for Returning {
    type Target = Me;
    fn deref(&self) -> &Me {
        &self.0
    }
}

/// A signed-in account that may administer the instance.
pub struct Operator(Me);

impl std::ops::Deref for Operator {
    type Target = Me;
    fn deref(&self) -> &Me {
        &self.0
    }
}

/// Anybody: signed in or not.
pub struct Visitor {
    pub me: Option<Arc<SignedIn>>,
    pub origin: Origin,
}

/// What a stream was opened with: shown again for as long as it is open, because the answer of a request that has
/// been let in once goes on for minutes.
pub struct Standing {
    web: web::Data<Web>,
    shown: Shown,
    workspace: WorkspaceId,
    role: Role,
}

/// The credential of a request.
enum Shown {
    Cookie(SessionToken),
    Bearer(Secret),
}

impl Shown {
    fn who(&self, web: &Web) -> Result<SignedIn, IdentityError> {
        match self {
            Self::Cookie(token) => web.control.session(token),
            Self::Bearer(token) => web.control.token(token),
        }
    }
}

impl Standing {
    /// Whether the session or token, its account and the membership are still there, and the role is not lower than
    /// it was. What can't be read is gone.
    pub fn holds(&self) -> bool {
        let who = self.shown.who(&self.web);
        who.is_ok_and(|who| {
            who.person().acts()
                && self.web.door.still_admits(&who, self.workspace, self.role).unwrap_or_else(|error| {
                    tracing::warn!(%error, "a stream is ended because its membership can't be read");
                    false
                })
        })
    }
}

fn state(request: &HttpRequest) -> Result<&web::Data<Web>, Problem> {
    request.app_data::<web::Data<Web>>().ok_or_else(|| Problem::Broken("no app data".into()))
}

/// The id that `guard` gave this request.
pub fn request_id(request: &HttpRequest) -> Option<RequestId> {
    request.extensions().get::<RequestId>().copied()
}

/// The session cookie's value.
pub fn session_token(request: &HttpRequest, web: &Web) -> Option<SessionToken> {
    request.cookie(cookie_name(web)).map(|c| SessionToken::new(c.value().to_owned()))
}

fn bearer(request: &HttpRequest) -> Result<Option<Secret>, Problem> {
    let Some(value) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    match value.to_str().ok().and_then(|v| v.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(Some(Secret::new(token.trim().into())))
        }
        _ => Err(Problem::SignIn),
    }
}

/// Who this request was found to come from, once a handler has asked.
pub fn known(request: &HttpRequest) -> Option<Arc<SignedIn>> {
    request.extensions().get::<Arc<SignedIn>>().cloned()
}

/// Cookie or bearer token, never both. A bearer token counts only under `/api/`.
fn shown(request: &HttpRequest, web: &Web) -> Result<Shown, Problem> {
    let api = request.path().starts_with("/api/");
    match (session_token(request, web), bearer(request)?) {
        (None, Some(token)) if api => Ok(Shown::Bearer(token)),
        (Some(cookie), None) if !api => Ok(Shown::Cookie(cookie)),
        // Nothing, something in the wrong place, or both at once.
        _ => Err(Problem::SignIn),
    }
}

/// Looked up once a request.
fn signed_in(request: &HttpRequest) -> Result<Arc<SignedIn>, Problem> {
    if let Some(who) = known(request) {
        return Ok(who);
    }
    let web = state(request)?;
    let who = Arc::new(shown(request, web)?.who(web)?);
    request.extensions_mut().insert(who.account());
    request.extensions_mut().insert(Arc::clone(&who));
    Ok(who)
}

/// [`signed_in`], and not about to be deleted.
fn acting(request: &HttpRequest) -> Result<Arc<SignedIn>, Problem> {
    let who = signed_in(request)?;
    if who.person().acts() { Ok(who) } else { Err(Problem::Closing) }
}

fn entered(request: &HttpRequest) -> Result<Entered, Problem> {
    let web = state(request)?;
    let who = acting(request)?;
    let id = request_id(request);
    let entered = match (who.via(), request.match_info().get("workspace")) {
        (Via::Session { .. }, Some(slug)) => web.door.enter(&who, slug, id)?,
        (Via::Token { .. }, _) => web.door.enter_by_token(&who, id)?,
        (Via::Session { .. }, None) => return Err(Problem::NotFound),
    };
    request.extensions_mut().insert(entered.id());
    Ok(if request.method().is_safe() { entered.reading() } else { entered })
}

/// Where a request comes from: behind a proxy the last forwarder's word, else the socket.
pub fn origin(request: &HttpRequest, web: &Web) -> Origin {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let forwarded = header("x-forwarded-for").filter(|_| web.behind_proxy);
    let forwarded = forwarded.and_then(|list| list.rsplit(',').next().map(|a| a.trim().to_owned()));
    let socket = || request.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
    Origin {
        address: forwarded.unwrap_or_else(socket),
        user_agent: header(USER_AGENT.as_str()).unwrap_or_default(),
        request: request_id(request),
    }
}

impl FromRequest for Me {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(acting(request).map(Self))
    }
}

impl FromRequest for Returning {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(signed_in(request).map(|who| Self(Me(who))))
    }
}

impl FromRequest for Confirmed {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(acting(request).and_then(|who| {
            if state(request)?.control.is_confirmed(&who) {
                Ok(Self(Me(who)))
            } else {
                Err(Problem::Confirm(back(request)))
            }
        }))
    }
}

/// Where a person goes on after confirming or acknowledging: the page itself, or the one that a form was on.
pub fn back(request: &HttpRequest) -> String {
    if request.method() == actix_web::http::Method::GET {
        return request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
    }
    let referer = request.headers().get(REFERER).and_then(|v| v.to_str().ok());
    let referer = referer.and_then(|v| v.parse::<url::Url>().ok());
    referer.map_or_else(|| "/".to_owned(), |url| url.path().to_owned())
}

/// Who asks with a session, for what stands before the handlers.
pub fn session_of(request: &HttpRequest) -> Option<Arc<SignedIn>> {
    signed_in(request).ok().filter(|who| matches!(who.via(), Via::Session { .. }))
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(acting(request).and_then(|who| {
            if who.person().operator { Ok(Self(Me(who))) } else { Err(Problem::NotOperator) }
        }))
    }
}

impl FromRequest for Standing {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(entered(request).and_then(|entered| {
            let web = state(request)?.clone();
            let shown = shown(request, &web)?;
            Ok(Self { web, shown, workspace: entered.id(), role: entered.role() })
        }))
    }
}

impl FromRequest for Visitor {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(state(request).map(|web| Self { me: signed_in(request).ok(), origin: origin(request, web) }))
    }
}

macro_rules! roles {
    ($($role:ident $enter:ident)*) => {$(
        impl FromRequest for $role {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;
            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                ready(entered(request).and_then(|e| Ok(e.$enter()?)))
            }
        }
    )*};
}
roles!(Viewer viewer  Member member  Admin admin  Owner owner  Keeper keeper);
