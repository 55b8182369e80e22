//! The pages of conversations: a new one, one with its answers, all of them. `view` is what templates see, `read`
//! makes it from what is kept, `list` finds, `stream` tells an open page what comes, `acts` carries out the forms.

mod acts;
mod list;
mod read;
mod start;
mod stream;
mod view;

use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::records::{Conversation, Role};
use super::{of, topic};
use crate::ids::{AccountId, ConversationId, MessageId, OrgId};
use crate::models::Models;
use crate::orgs::records as orgs;
use crate::store::{Read, StoreError};
use crate::web::{Crumb, Me, Problem, Shell, Web, page};
use crate::workspace::{Member, retention};
use read::Drawing;
use start::Starter;
use view::{Composer, TurnView};

/// Conversations in the sidebar.
const RECENT: usize = 8;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/chat", web::get().to(new))
        .route("/w/{workspace}/chat", web::post().to(acts::begin))
        .route("/w/{workspace}/chat/{conversation}", web::get().to(conversation))
        .route("/w/{workspace}/chat/{conversation}", web::post().to(acts::ask))
        .route("/w/{workspace}/chat/{conversation}/again", web::post().to(acts::again))
        .route("/w/{workspace}/chat/{conversation}/consent", web::post().to(acts::consent))
        .route("/w/{workspace}/chat/{conversation}/delete", web::get().to(delete))
        .route("/w/{workspace}/chat/{conversation}/delete", web::post().to(acts::delete))
        .route("/w/{workspace}/chat/{conversation}/export", web::get().to(export))
        .route("/w/{workspace}/chat/{conversation}/pin", web::post().to(acts::pin))
        .route("/w/{workspace}/chat/{conversation}/rename", web::post().to(acts::rename))
        .route("/w/{workspace}/chat/{conversation}/turns/{turn}/events", web::get().to(stream::events))
        .route("/w/{workspace}/chat/{conversation}/turns/{turn}/stop", web::post().to(acts::stop))
        .route("/w/{workspace}/chats", web::get().to(list::list));
}

/// The newest conversations of a person, for the sidebar.
pub fn recent(read: &impl Read, owner: AccountId, slug: &str) -> Result<Vec<Crumb>, StoreError> {
    let newest = read::newest(read, owner, RECENT)?;
    Ok(newest.into_iter().map(|(id, c)| Crumb::new(c.title, format!("/w/{slug}/chat/{id}"))).collect())
}

#[derive(Deserialize)]
struct Asked {
    /// A question to begin with, put into the field.
    ask: Option<String>,
    /// Slug of the org to ask about.
    org: Option<String>,
}

#[derive(Template)]
#[template(path = "chat/start.html")]
struct StartPage {
    shell: Shell,
    slug: String,
    facts: String,
    /// What limits the answers, when something does.
    note: Option<String>,
    operator: bool,
    starters: Vec<Starter>,
    composer: Composer,
}

async fn new(
    web: web::Data<Web>,
    models: web::Data<Models>,
    me: Me,
    ws: Member,
    asked: web::Query<Asked>,
) -> Result<HttpResponse, Problem> {
    let slug = ws.row().slug.clone();
    let shell = Shell::workspace(&web, &me, &ws, "New chat", "chat")?;
    let asked = asked.into_inner();
    let read = ws.read()?;
    let all = orgs::all(&read)?;
    let org = match &asked.org {
        Some(slug) => all.iter().find(|(_, org)| org.slug == *slug),
        None => all.first(),
    };
    let mut composer = composer(&read, &models, org.map(|(id, _)| *id))?;
    composer.action = format!("/w/{slug}/chat");
    composer.text = asked.ask;
    let known = org.cloned();
    let (facts, starters) = match known {
        Some((id, org)) => {
            let slug = slug.clone();
            web::block(move || -> Result<_, StoreError> {
                let read = ws.read()?;
                Ok((start::facts(&read, id, &org)?, start::starters(&read, &slug, id, &org)?))
            })
            .await??
        }
        None => ("No org is connected. Answers come from your documents alone.".to_owned(), Vec::new()),
    };
    page::render(&StartPage {
        shell,
        slug,
        facts,
        note: models.chosen()?.is_none().then(|| NO_MODEL.to_owned()),
        operator: me.person().operator,
        starters,
        composer,
    })
}

const NO_MODEL: &str = "No model is configured. Questions are answered with the best passages and components, cited, \
                        but nothing is written about them.";

/// The field for the next message, in its state without a running turn.
fn composer(read: &impl Read, models: &Models, org: Option<OrgId>) -> Result<Composer, Problem> {
    let all = orgs::all(read)?;
    let chosen = all.iter().find(|(id, _)| Some(*id) == org).map(|(_, org)| org);
    let about = chosen.map_or("your documents", |org| org.name.as_str());
    let (model, model_title) = match models.chosen()? {
        Some(model) => {
            let title = format!("Answers come from {} at {}", model.model, model.name);
            (model.label, title)
        }
        None => ("No model".to_owned(), NO_MODEL.to_owned()),
    };
    Ok(Composer {
        action: String::new(),
        running: false,
        placeholder: format!("Ask about {about}, or describe a change…"),
        text: None,
        signed_out: chosen.is_some_and(|org| org.signed_out.is_some()),
        org: chosen.map(|org| org.slug.clone()).unwrap_or_default(),
        orgs: all.into_iter().map(|(_, org)| (org.slug, org.name)).collect(),
        model,
        model_title,
    })
}

#[derive(Deserialize)]
struct Chosen {
    /// The answer to show, where a question has several.
    a: Option<MessageId>,
}

#[derive(Template)]
#[template(path = "chat/conversation.html")]
struct ConversationPage {
    shell: Shell,
    slug: String,
    /// Path of this page.
    base: String,
    topic: String,
    title: String,
    pinned: bool,
    /// When a limit of the workspace takes it.
    goes: Option<String>,
    turns: Vec<TurnView>,
    stop: String,
    composer: Composer,
}

async fn conversation(
    web: web::Data<Web>,
    models: web::Data<Models>,
    me: Me,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
    chosen: web::Query<Chosen>,
) -> Result<HttpResponse, Problem> {
    let id = path.1;
    let Conversation { title, pinned, org, updated, .. } = of(&ws, id)?;
    let slug = ws.row().slug.clone();
    let base = format!("/w/{slug}/chat/{id}");
    let shell = Shell::workspace(&web, &me, &ws, &title, &format!("chat/{id}"))?;
    let mut composer = composer(&ws.read()?, &models, org)?;
    let limited = !pinned && me.person().restriction.is_none();
    let kept = if limited { retention::kept(&ws.read()?)? } else { None };
    let goes = kept.and_then(|kept| kept.conversation_goes(updated));
    let label = models.chosen()?.map(|model| model.label);
    let (now, at, workspace) = (web.clock.now(), base.clone(), format!("/w/{slug}"));
    let turns = web::block(move || -> Result<_, StoreError> {
        let read = ws.read()?;
        let rows = read::messages(&read, id, read::SHOWN)?;
        let model = label.as_deref();
        Drawing { read: &read, base: &at, workspace: &workspace, now, model, chosen: chosen.a }.turns(&rows)
    })
    .await??;
    let running = turns.iter().find(|turn| turn.answer.as_ref().is_some_and(|answer| answer.running));
    composer.action.clone_from(&base);
    composer.running = running.is_some();
    let stop = running.map(|turn| format!("{base}/turns/{}/stop", turn.id)).unwrap_or_default();
    page::render(&ConversationPage {
        shell: shell.under(vec![Crumb::new("Chat", format!("/w/{slug}/chats"))]),
        slug,
        topic: topic(id),
        title,
        pinned,
        goes: goes.map(|at| at.strftime("%-d %B %Y").to_string()),
        turns,
        stop,
        composer,
        base,
    })
}

#[derive(Template)]
#[template(path = "chat/delete.html")]
struct DeletePage {
    shell: Shell,
    base: String,
    title: String,
    messages: usize,
}

async fn delete(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    path: web::Path<(String, ConversationId)>,
) -> Result<HttpResponse, Problem> {
    let conversation = of(&ws, path.1)?;
    let slug = &ws.row().slug;
    let base = format!("/w/{slug}/chat/{}", path.1);
    let messages = ws.read()?.scan(&super::records::MESSAGES).under(&path.1).count()?;
    let shell = Shell::workspace(&web, &me, &ws, "Delete chat", &format!("chat/{}", path.1))?;
    let steps = vec![
        Crumb::new("Chat", format!("/w/{slug}/chats")),
        Crumb::new(conversation.title.clone(), base.clone()),
    ];
    page::render(&DeletePage { shell: shell.under(steps), base, title: conversation.title, messages })
}

/// The conversation as a Markdown file.
async fn export(ws: Member, path: web::Path<(String, ConversationId)>) -> Result<HttpResponse, Problem> {
    let id = path.1;
    let conversation = of(&ws, id)?;
    let text = web::block(move || -> Result<String, StoreError> {
        let rows = read::messages(&ws.read()?, id, usize::MAX)?;
        let mut text = format!("# {}\n", conversation.title);
        for (_, row) in rows {
            let who = if row.role == Role::User { "You" } else { "Vynos" };
            text.push_str(&format!("\n## {who}, {}\n\n{}\n", crate::orgs::shown(row.at), row.text));
            for source in row.citations {
                let place = source.page.map(|page| format!(", page {page}")).unwrap_or_default();
                text.push_str(&format!("\n- [{}] {}{place}", source.n, source.title));
            }
            if let Some(failure) = row.failure {
                text.push_str(&format!("\n> {failure}\n"));
            }
        }
        Ok(text)
    })
    .await??;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/markdown; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"chat-{id}.md\"")))
        .body(text))
}
