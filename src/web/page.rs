//! The chrome around every page: plain data for `templates/base.html` (signed in) and `templates/blank.html`
//! (sign-in, setup, errors).

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use askama::Template;

use super::{Problem, Web};
use crate::identity::{Restricted, SignedIn, WorkspaceRow};
use crate::workspace::Viewer;

/// An entry of the sidebar.
#[derive(Clone, Debug)]
pub struct NavItem {
    pub href: String,
    pub label: &'static str,
    pub icon: &'static str,
    /// A number beside it, 0 = none.
    pub count: usize,
}

/// An org in the sidebar's switcher.
#[derive(Clone, Debug)]
pub struct NavOrg {
    /// The section that is open now, in this org.
    pub href: String,
    pub name: String,
    /// Production, Sandbox.
    pub kind: &'static str,
    /// Salesforce signed us out of it.
    pub signed_out: bool,
    pub current: bool,
}

/// What the feature list knows of a workspace's navigation.
#[derive(Clone, Debug, Default)]
pub struct Navigation {
    pub orgs: Vec<NavOrg>,
    /// Where a new conversation begins; empty for those who may not chat.
    pub new_chat: String,
    pub main: Vec<NavItem>,
    /// The newest conversations of the person.
    pub recent: Vec<Crumb>,
    pub foot: Vec<NavItem>,
    /// Where the workspace opens.
    pub home: String,
    /// The way to the inbox.
    pub bell: Option<Bell>,
}

/// The bell of the top bar.
#[derive(Clone, Debug)]
pub struct Bell {
    pub href: String,
    /// The event stream that tells when to look again, and the topics to look for.
    pub stream: String,
    pub topics: String,
    pub unread: usize,
}

impl Navigation {
    /// The org that the sidebar's entries are about.
    pub fn org(&self) -> Option<&NavOrg> {
        self.orgs.iter().find(|org| org.current)
    }
}

/// A step of the breadcrumb; the last one is the page itself.
#[derive(Clone, Debug)]
pub struct Crumb {
    pub label: String,
    pub href: String,
}

impl Crumb {
    pub fn new(label: impl Into<String>, href: impl Into<String>) -> Self {
        Self { label: label.into(), href: href.into() }
    }
}

/// Everything the chrome of a signed-in page shows.
#[derive(Clone, Debug)]
pub struct Shell {
    pub title: String,
    pub theme: &'static str,
    pub name: String,
    pub initials: String,
    pub email: String,
    pub operator: bool,
    /// IANA name of the zone in which times are shown; empty = UTC.
    pub time_zone: String,
    pub csrf: String,
    pub demo: bool,
    /// A version of the privacy policy that the person has to acknowledge.
    pub policy: Option<u32>,
    /// Why nothing of the person's is processed.
    pub restricted: Option<Restricted>,
    /// The workspace the page is in, and all of the person's.
    pub workspace: Option<WorkspaceRow>,
    pub workspaces: Vec<WorkspaceRow>,
    pub navigation: Navigation,
    /// Path of the current entry of the sidebar.
    pub current: String,
    pub crumbs: Vec<Crumb>,
}

impl Shell {
    /// The chrome of a page outside any workspace.
    pub fn account(web: &Web, me: &SignedIn, title: &str) -> Result<Self, Problem> {
        let person = me.person();
        let workspaces =
            web.control.workspaces_of(me.account())?.into_iter().map(|(_, row, _)| row).collect();
        Ok(Self {
            title: title.to_owned(),
            theme: person.theme.name(),
            name: person.name.clone(),
            initials: initials(&person.name),
            email: person.email.to_string(),
            operator: person.operator,
            time_zone: person.time_zone.clone(),
            csrf: me.csrf().to_owned(),
            demo: web.demo,
            policy: Some(web.settings().material_policy)
                .filter(|wanted| *wanted > person.acknowledged_policy),
            restricted: person.restricted(),
            workspace: None,
            workspaces,
            navigation: Navigation::default(),
            current: String::new(),
            crumbs: vec![Crumb::new(title, "")],
        })
    }

    /// The chrome of a page of a workspace. `current` is the sidebar entry's path below `/w/{slug}/`.
    pub fn workspace(
        web: &Web,
        me: &SignedIn,
        ws: &Viewer,
        title: &str,
        current: &str,
    ) -> Result<Self, Problem> {
        let mut shell = Self::account(web, me, title)?;
        shell.current = format!("/w/{}/{current}", ws.row().slug);
        shell.navigation = (web.navigation)(&web.control, ws, current)?;
        shell.workspace = Some(ws.row().clone());
        Ok(shell)
    }

    /// Puts steps before the page's own.
    pub fn under(mut self, steps: Vec<Crumb>) -> Self {
        self.crumbs.splice(0..0, steps);
        self
    }
}

/// The chrome of a page without a sidebar.
#[derive(Clone, Debug)]
pub struct Blank {
    pub title: String,
    pub theme: &'static str,
    pub demo: bool,
    /// Host of the address people use.
    pub host: String,
}

impl Blank {
    pub fn new(web: &Web, title: &str) -> Self {
        Self {
            title: title.to_owned(),
            theme: "system",
            demo: web.demo,
            host: web.external.host_str().unwrap_or_default().to_owned(),
        }
    }
}

/// The version people see and report.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Draws a page. Pages of a person are never stored by caches.
pub fn render(page: &impl Template) -> Result<HttpResponse, Problem> {
    render_with(actix_web::http::StatusCode::OK, page)
}

/// Draws a page under a status: a form that comes back with its errors is 422.
pub fn render_with(
    status: actix_web::http::StatusCode,
    page: &impl Template,
) -> Result<HttpResponse, Problem> {
    // Room for most pages at once: growing copies what was written.
    let mut html = String::with_capacity(16 << 10);
    page.render_into(&mut html).map_err(|e| Problem::Broken(format!("template: {e}")))?;
    Ok(HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(html))
}

/// A moment as a person reads it, in their zone (IANA name; empty or unknown = UTC): 24 November 2026, 14:05 CET.
pub fn local_time(at: jiff::Timestamp, zone: &str) -> String {
    let zone = jiff::tz::db().get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
    at.to_zoned_datetime(zone).strftime("%-d %B %Y, %H:%M %Z").to_string()
}

/// A number with its thousands apart: 412,300.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 512 B, 38.4 KB, 1.94 GB: three digits at most.
pub fn size(bytes: u64) -> String {
    let mut whole = bytes as f64;
    for unit in ["B", "KB", "MB", "GB", "TB"] {
        if whole < 999.5 || unit == "TB" {
            let places = if unit == "B" || whole >= 99.95 { 0 } else { usize::from(whole < 9.995) + 1 };
            return format!("{whole:.places$} {unit}");
        }
        whole /= 1000.0;
    }
    String::new()
}

/// Sends the browser on with GET after a post.
pub fn see_other(to: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((actix_web::http::header::LOCATION, to)).finish()
}

/// First letters of the first and the last name, for the round badge.
pub fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let first = words.next().and_then(|w| w.chars().next());
    let last = words.next_back().and_then(|w| w.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [0, 999, 1000, 412_300, 1_000_000].map(grouped),
            ["0", "999", "1,000", "412,300", "1,000,000"]
        );
    }

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 512, 999, 38_400, 167_000_000, 1_940_000_000, 9_999, 999_999].map(size);
        assert_eq!(sizes, ["0 B", "512 B", "999 B", "38.4 KB", "167 MB", "1.94 GB", "10.0 KB", "1.00 MB"]);
    }

    #[test]
    fn a_moment_is_shown_in_the_zone_of_the_person() {
        let at = "2026-11-24T13:05:00Z".parse().unwrap();
        assert_eq!(local_time(at, "Europe/Berlin"), "24 November 2026, 14:05 CET");
        assert_eq!(local_time(at, ""), "24 November 2026, 13:05 UTC");
        assert_eq!(local_time(at, "Mars/Olympus"), "24 November 2026, 13:05 UTC");
    }

    #[test]
    fn initials_come_from_the_first_and_last_name() {
        assert_eq!(initials("Mira Anna Kovač"), "MK");
        assert_eq!(initials("ada"), "A");
        assert_eq!(initials(""), "");
    }
}
