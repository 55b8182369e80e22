//! All conversations of a person, searched in what was said.

use actix_web::{HttpResponse, web};
use askama::Template;
use jiff::{Timestamp, ToSpan as _};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use super::view::brief;
use crate::chat::records::{CONVERSATIONS, Conversation, MESSAGES};
use crate::ids::{AccountId, ConversationId};
use crate::orgs::records::ORGS;
use crate::store::{Read, StoreError};
use crate::web::{Me, Problem, Shell, Web, page};
use crate::workspace::index::{Fragment, snippet};
use crate::workspace::{Member, retention};

/// Rows on one page.
const SHOWN: usize = 50;
/// Conversations looked at.
const LOOKED_AT: usize = 20_000;
/// Messages of one conversation that a search reads.
const MESSAGES_READ: usize = 400;
/// Characters of what was said beside a title.
const SNIPPET: usize = 120;

#[derive(Deserialize)]
pub struct Filter {
    #[serde(default)]
    q: String,
    #[serde(default)]
    from: usize,
}

struct Row {
    href: String,
    title: String,
    snippet: Vec<Fragment>,
    org: String,
    at: String,
    pinned: bool,
}

struct Group {
    label: &'static str,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "chat/list.html")]
struct ListPage {
    shell: Shell,
    slug: String,
    q: String,
    total: usize,
    matches: usize,
    groups: Vec<Group>,
    older: Option<String>,
    /// Days after which a quiet chat goes.
    limit: Option<u32>,
}

pub async fn list(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    filter: web::Query<Filter>,
) -> Result<HttpResponse, Problem> {
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "Chats", "chat")?;
    let now = web.clock.now();
    let Filter { q, from } = filter.into_inner();
    let limit = retention::in_force(&ws.read()?, now)?.conversations;
    let (words, path) = (q.trim().to_owned(), format!("/w/{slug}/chat"));
    let (total, matches, groups) = web::block(move || -> Result<_, StoreError> {
        let read = ws.read()?;
        let all = of(&read, ws.account())?;
        let total = all.len();
        let mut found = Vec::new();
        for (id, conversation) in all {
            if let Some(snippet) = said(&read, id, &conversation, &words)? {
                found.push((id, conversation, snippet));
            }
        }
        let matches = found.len();
        let mut groups: Vec<Group> = Vec::new();
        for (id, conversation, snippet) in found.into_iter().skip(from).take(SHOWN) {
            let label = label(&conversation, now);
            let org = match conversation.org {
                Some(org) => read.get(&ORGS, &org)?.map(|org| org.name).unwrap_or_default(),
                None => "No org".to_owned(),
            };
            let row = Row {
                href: format!("{path}/{id}"),
                title: conversation.title,
                snippet,
                org,
                at: brief(conversation.updated, now),
                pinned: conversation.pinned,
            };
            match groups.last_mut().filter(|group| group.label == label) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group { label, rows: vec![row] }),
            }
        }
        Ok((total, matches, groups))
    })
    .await??;
    let encoded: String = byte_serialize(q.as_bytes()).collect();
    let older =
        (matches > from + SHOWN).then(|| format!("/w/{slug}/chats?q={encoded}&from={}", from + SHOWN));
    page::render(&ListPage { shell, slug, q, total, matches, groups, older, limit })
}

/// All of a person, pinned ones first, then by what was said last.
fn of(read: &impl Read, owner: AccountId) -> Result<Vec<(ConversationId, Conversation)>, StoreError> {
    let mut all = Vec::new();
    read.scan(&CONVERSATIONS).reverse().limit(LOOKED_AT).each(|id, conversation| {
        if conversation.owner == owner {
            all.push((id, conversation));
        }
        true
    })?;
    all.sort_by_key(|(_, conversation)| std::cmp::Reverse((conversation.pinned, conversation.updated)));
    Ok(all)
}

/// What shows why a conversation was found: the newest message that holds all words, or the first one when only the
/// title does. `None` when neither does.
fn said(
    read: &impl Read,
    id: ConversationId,
    conversation: &Conversation,
    words: &str,
) -> Result<Option<Vec<Fragment>>, StoreError> {
    let wanted: Vec<String> = words.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let holds = |text: &str| {
        let text = text.to_lowercase();
        wanted.iter().all(|word| text.contains(word))
    };
    let titled = holds(&conversation.title);
    let most = if wanted.is_empty() { 1 } else { MESSAGES_READ };
    let mut shown: Option<String> = None;
    read.scan(&MESSAGES).under(&id).reverse().limit(most).each(|_, message| {
        let fits = wanted.is_empty() || holds(&message.text);
        if fits {
            shown = Some(message.text);
        }
        !fits
    })?;
    Ok(match shown {
        Some(text) => Some(snippet(words, &text.replace("**", "").replace('`', ""), None, SNIPPET)),
        None if titled => Some(Vec::new()),
        None => None,
    })
}

fn label(conversation: &Conversation, now: Timestamp) -> &'static str {
    let since = |hours: i64| now.checked_sub(hours.hours()).is_ok_and(|then| conversation.updated >= then);
    match () {
        () if conversation.pinned => "Pinned",
        () if since(24) => "Last 24 hours",
        () if since(7 * 24) => "Last 7 days",
        () => "Earlier",
    }
}
