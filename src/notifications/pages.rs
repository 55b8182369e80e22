//! The inbox, and the way from a notice to what it is about.

use std::collections::BTreeSet;

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::inbox::{self, Item};
use super::kinds::Kind;
use crate::ids::NoticeId;
use crate::web::page::see_other;
use crate::web::{Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::Viewer;

/// Lines on the page; what is older waits until these are read.
const SHOWN: usize = 100;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/n/{notice}", web::get().to(open))
        .route("/w/{workspace}/notifications", web::get().to(show))
        .route("/w/{workspace}/notifications/read", web::post().to(mark_all));
}

#[derive(Deserialize)]
struct Filter {
    kind: Option<Kind>,
    #[serde(default)]
    show: Show,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Show {
    #[default]
    All,
    Unread,
}

struct Line {
    item: Item,
    /// The hour of today, the day before.
    when: String,
}

struct Section {
    title: &'static str,
    lines: Vec<Line>,
}

#[derive(Template)]
#[template(path = "notifications/inbox.html")]
struct InboxPage {
    shell: Shell,
    slug: String,
    topics: String,
    sections: Vec<Section>,
    unread: usize,
    only_unread: bool,
    /// Kinds that there are notices of, and the one chosen.
    kinds: Vec<Kind>,
    chosen: String,
    more: bool,
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Viewer,
    query: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let shell = Shell::workspace(&web, &me, &ws, "Notifications", "notifications")?;
    let (slug, now) = (ws.row().slug.clone(), web.clock.now());
    let topics = crate::web::live::notice_topics(me.account());
    let control = web.control.clone();
    let items = web::block(move || inbox::items(&control, &ws)).await??;
    let kinds: BTreeSet<Kind> = items.iter().map(|item| item.kind).collect();
    let unread = items.iter().filter(|item| item.unread).count();
    let only_unread = query.show == Show::Unread;
    let fits = |item: &Item| (item.unread || !only_unread) && query.kind.is_none_or(|kind| kind == item.kind);
    let mut fitting: Vec<Item> = items.into_iter().filter(fits).collect();
    let more = fitting.len() > SHOWN;
    fitting.truncate(SHOWN);
    let today = now.strftime("%F").to_string();
    let (mut new, mut read, mut earlier) = (Vec::new(), Vec::new(), Vec::new());
    for item in fitting {
        let is_today = item.at.strftime("%F").to_string() == today;
        let when = item.at.strftime(if is_today { "%H:%M" } else { "%-d %b" }).to_string();
        let line = Line { item, when };
        match (line.item.unread, is_today) {
            (true, _) => new.push(line),
            (false, true) => read.push(line),
            (false, false) => earlier.push(line),
        }
    }
    let sections = [("Unread", new), ("Today", read), ("Earlier", earlier)];
    let sections = sections.into_iter().filter(|(_, lines)| !lines.is_empty());
    page::render(&InboxPage {
        shell,
        slug,
        topics,
        sections: sections.map(|(title, lines)| Section { title, lines }).collect(),
        unread,
        only_unread,
        kinds: kinds.into_iter().collect(),
        chosen: query.kind.map(Kind::name).unwrap_or_default(),
        more,
    })
}

async fn open(
    web: web::Data<Web>,
    ws: Viewer,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id: NoticeId = path.1.parse().map_err(|_| Problem::NotFound)?;
    let link = inbox::open(&web.control, &ws, id).await?.ok_or(Problem::NotFound)?;
    Ok(see_other(&inside(&link).unwrap_or_else(|| format!("/w/{}/notifications", ws.row().slug))))
}

/// A path of this instance; everything else leads nowhere.
fn inside(link: &str) -> Option<String> {
    let plain = link.starts_with('/') && !link.starts_with("//") && !link.contains(['\\', '\r', '\n']);
    plain.then(|| link.to_owned())
}

#[derive(Deserialize)]
struct Nothing {}

async fn mark_all(web: web::Data<Web>, ws: Viewer, _: PostForm<Nothing>) -> Result<HttpResponse, Problem> {
    inbox::mark_all(&web.control, &ws).await?;
    Ok(see_other(&format!("/w/{}/notifications", ws.row().slug)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_leads_to_this_instance_only() {
        assert_eq!(inside("/w/halden/orgs").as_deref(), Some("/w/halden/orgs"));
        for bad in ["", "https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb"] {
            assert_eq!(inside(bad), None, "{bad:?}");
        }
    }
}
