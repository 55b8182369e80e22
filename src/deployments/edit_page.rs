//! Editing a file of a change set: a form that works without script. What somebody else saved meanwhile is never
//! overwritten unseen.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::package::sha256;
use super::pages::{Place, address, found};
use super::propose::synced;
use super::records::{CHANGE_FILES, ChangeSet, files};
use super::state::{Stage, state};
use super::{EditError, edit, request_validation, view};
use crate::apex::Language;
use crate::orgs::records::Org;
use crate::store::Read as _;
use crate::web::diff::{self, Diff, Remark};
use crate::web::page::{render_with, see_other};
use crate::web::{Crumb, Me, PostForm, Problem, Shell, Web, page};
use crate::workspace::{Member, Viewer};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/edit", web::get().to(show))
        .route("/w/{workspace}/o/{org}/deployments/{change_set}/edit", web::post().to(save));
}

#[derive(Deserialize)]
struct Chosen {
    #[serde(default)]
    file: String,
}

struct Entry {
    path: String,
    icon: &'static str,
    current: bool,
}

#[derive(Template)]
#[template(path = "deployments/edit.html")]
struct EditPage {
    shell: Shell,
    base: String,
    org: Org,
    set: ChangeSet,
    stage: Stage,
    entries: Vec<Entry>,
    path: String,
    seen: String,
    source: String,
    lines: usize,
    remarks: Vec<Remark>,
    diff: Diff,
    /// What somebody else saved meanwhile, against what was sent.
    moved: bool,
}

async fn show(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    place: Place,
    chosen: web::Query<Chosen>,
) -> Result<HttpResponse, Problem> {
    page::render(&page_of(&web, &me, &ws, &place, &chosen.file).await?)
}

async fn page_of(
    web: &Web,
    me: &Me,
    ws: &Viewer,
    place: &(String, String, String),
    wanted: &str,
) -> Result<EditPage, Problem> {
    let read = ws.read()?;
    let (org_id, org, id, set) = found(&read, place)?;
    let drafted = files(&read, id)?;
    let chosen = drafted.iter().find(|(path, _)| wanted.is_empty() || path == wanted);
    let (path, file) = chosen.cloned().ok_or(Problem::NotFound)?;
    let state = state(&read, id, &set, ws.clock().now())?;
    let before = synced(&read, org_id, &path)?.unwrap_or_default();
    drop(read);
    let run = state.latest().map(|(_, run)| run);
    let (mut about, _) = view::remarks(&set, &drafted, run);
    let remarks = about.remove(&path).unwrap_or_default();
    let entries =
        drafted.iter().map(|(p, _)| Entry { path: p.clone(), icon: view::icon(p), current: *p == path });
    let entries = entries.collect();
    let source = file.content.unwrap_or_default();
    let (after, language, said) = (source.clone(), Language::of_path(&path), remarks.clone());
    let diff = web::block(move || diff::unified(&before, &after, language, &said)).await?;
    let slug = ws.row().slug.clone();
    let section = format!("o/{}/deployments", org.slug);
    let shell = Shell::workspace(web, me, ws, "Edit", &section)?;
    Ok(EditPage {
        shell: shell.under(vec![
            Crumb::new(org.name.clone(), format!("/w/{slug}/o/{}", org.slug)),
            Crumb::new("Deployments", format!("/w/{slug}/{section}")),
            Crumb::new(set.title.clone(), address(place, id)),
        ]),
        base: address(place, id),
        org,
        set,
        stage: state.stage,
        entries,
        path,
        seen: sha256(source.as_bytes()),
        lines: source.lines().count(),
        source,
        remarks,
        diff,
        moved: false,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// SHA-256 of what the person began with.
    base: String,
    source: String,
    then: String,
}

async fn save(
    web: web::Data<Web>,
    me: Me,
    ws: Member,
    place: Place,
    chosen: web::Query<Chosen>,
    PostForm(saved): PostForm<Saved>,
) -> Result<HttpResponse, Problem> {
    let read = ws.read()?;
    let (_, _, id, _) = found(&read, &place)?;
    // Asked before anything is written, so that a refusal keeps nothing.
    let leave = (saved.then == "validate").then(|| ws.processing()).transpose()?;
    let stands = read.get(&CHANGE_FILES, &(id, chosen.file.clone()))?.ok_or(Problem::NotFound)?;
    drop(read);
    let source = with_line_ends_of(&saved.source, &stands.content.unwrap_or_default());
    match edit(&ws, id, &chosen.file, &saved.base, source.clone()).await {
        Ok(()) => {
            if let Some(leave) = leave {
                request_validation(&ws, id, leave).await?;
                return Ok(see_other(&address(&place, id)));
            }
            let file: String = url::form_urlencoded::byte_serialize(chosen.file.as_bytes()).collect();
            Ok(see_other(&format!("{}/edit?file={file}", address(&place, id))))
        }
        Err(EditError::Moved(theirs)) => {
            let page = page_of(&web, &me, &ws, &place, &chosen.file).await?;
            let (language, mine) = (Language::of_path(&chosen.file), source.clone());
            let diff = web::block(move || diff::unified(&theirs, &mine, language, &[])).await?;
            let page = EditPage { diff, lines: source.lines().count(), source, moved: true, ..page };
            render_with(StatusCode::CONFLICT, &page)
        }
        Err(EditError::Problem(problem)) => Err(problem),
    }
}

/// A form sends every line end as CR LF; the file keeps its own.
fn with_line_ends_of(sent: &str, stands: &str) -> String {
    let plain = sent.replace("\r\n", "\n");
    if stands.contains("\r\n") { plain.replace('\n', "\r\n") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::with_line_ends_of;

    #[test]
    fn a_file_keeps_its_line_ends() {
        assert_eq!(with_line_ends_of("a\r\nb\r\n", "x\ny"), "a\nb\n");
        assert_eq!(with_line_ends_of("a\r\nb", "x\r\ny"), "a\r\nb");
    }
}
