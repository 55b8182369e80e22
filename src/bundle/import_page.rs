//! A new workspace from an export: the bundle is uploaded into a sealed spool, checked, and taken in.

use std::io::{Read, Write as _};

use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use futures_util::StreamExt as _;

use super::BundleError;
use super::import::Import;
use super::spool::{Spool, Spooled};
use crate::identity::{Control, Role};
use crate::ids::AccountId;
use crate::knowledge::file_of::small;
use crate::seal::constant_time_eq;
use crate::store::StoreError;
use crate::web::access::request_id;
use crate::web::page::{Crumb, render_with, see_other};
use crate::web::problem::FieldError;
use crate::web::{Me, Problem, Shell, Web, page};

/// Bytes that are sealed at once.
const WRITE: usize = 256 << 10;
/// Workspaces that somebody who is no operator may own at the same time.
const OWNED: usize = 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/workspaces/new/import", web::get().to(show))
        .route("/workspaces/new/import", web::post().to(import));
}

#[derive(Template)]
#[template(path = "bundle/import.html")]
struct ImportPage {
    shell: Shell,
    errors: Vec<FieldError>,
    may: bool,
}

fn import_page(web: &Web, me: &Me) -> Result<ImportPage, Problem> {
    Ok(ImportPage {
        shell: Shell::account(web, me, "Import a workspace")?
            .under(vec![Crumb::new("Create workspace", "/workspaces/new".to_owned())]),
        errors: Vec::new(),
        may: web.settings().may_create_workspace(me.person().operator),
    })
}

async fn show(web: web::Data<Web>, me: Me) -> Result<HttpResponse, Problem> {
    page::render(&import_page(&web, &me)?)
}

async fn import(
    web: web::Data<Web>,
    request: HttpRequest,
    me: Me,
    mut form: Multipart,
) -> Result<HttpResponse, Problem> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        return Err(Problem::field("bundle", "Choose the file of an export. Nothing was imported."));
    }
    let page = import_page(&web, &me)?;
    if !page.may {
        return Err(Problem::NotOperator);
    }
    let operator = me.person().operator;
    if !operator && owned(&web.control, me.account())? >= OWNED {
        return Err(Problem::Conflict(format!(
            "You own {OWNED} workspaces, which is the most. Nothing was imported. Transfer or delete one first."
        )));
    }
    let spooled = match taken(&web, &me, &mut form).await {
        Ok(spooled) => spooled,
        Err(Problem::Invalid(errors)) => {
            return render_with(StatusCode::UNPROCESSABLE_ENTITY, &ImportPage { errors, ..page });
        }
        Err(other) => return Err(other),
    };
    let (state, by, owner, request) = (web.clone(), me.actor(), me.account(), request_id(&request));
    let made = web::block(move || {
        let owner = Some(owner);
        let (control, pool) = (&state.control, &state.pool);
        let open = || spooled.open().map(|reader| Box::new(reader) as Box<dyn Read>);
        Import { control, pool, by, owner, operator, request }.run(&open)
    });
    match made.await? {
        Ok((_, row)) => Ok(see_other(&format!("/w/{}/", row.slug))),
        Err(BundleError::Refused(why)) => {
            let message = format!("This file was not imported, and nothing was kept: {why}.");
            let errors = vec![FieldError { field: "bundle".into(), message }];
            render_with(StatusCode::UNPROCESSABLE_ENTITY, &ImportPage { errors, ..page })
        }
        Err(other) => Err(other.into()),
    }
}

fn owned(control: &Control, account: AccountId) -> Result<usize, StoreError> {
    let all = control.workspaces_of(account)?;
    Ok(all.iter().filter(|(_, _, role)| *role == Role::Owner).count())
}

/// The file of the form, behind its key.
async fn taken(web: &web::Data<Web>, me: &Me, form: &mut Multipart) -> Result<Spooled, Problem> {
    let broken_off =
        || Problem::field("bundle", "The upload broke off. Nothing was imported. Choose the file again.");
    let mut keyed = false;
    while let Some(field) = form.next().await {
        let mut field = field.map_err(|_| broken_off())?;
        match field.name().unwrap_or_default() {
            "csrf" => {
                let key = small(&mut field).await?;
                keyed = !me.csrf().is_empty() && constant_time_eq(key.as_bytes(), me.csrf().as_bytes());
            }
            _ if !keyed => return Err(Problem::ForeignForm),
            "bundle" => return spool(web, &mut field, broken_off).await,
            _ => {}
        }
    }
    if keyed {
        Err(Problem::field("bundle", "Choose the file of an export."))
    } else {
        Err(Problem::ForeignForm)
    }
}

async fn spool(
    web: &web::Data<Web>,
    field: &mut Field,
    broken_off: impl Fn() -> Problem,
) -> Result<Spooled, Problem> {
    let most = web.settings().quota.bytes;
    let mut spool = Spool::create(web.pool.data().root(), web.control.random()).map_err(BundleError::Io)?;
    let (mut held, mut bytes) = (Vec::new(), 0);
    loop {
        let piece = field.next().await.transpose().map_err(|_| broken_off())?;
        let ended = piece.is_none();
        if let Some(piece) = piece {
            bytes += piece.len() as u64;
            held.extend_from_slice(&piece);
        }
        if bytes > most {
            return Err(Problem::TooLarge(format!(
                "This file has more than the {} MB that a workspace may have here. Nothing was imported. The operator can \
                 raise the limit.",
                most >> 20
            )));
        }
        if ended || held.len() >= WRITE {
            let some = std::mem::take(&mut held);
            spool =
                web::block(move || spool.write_all(&some).map(|()| spool)).await?.map_err(BundleError::Io)?;
        }
        if ended {
            break;
        }
    }
    if bytes == 0 {
        return Err(Problem::field("bundle", "Choose the file of an export."));
    }
    Ok(web::block(move || spool.finish()).await?.map_err(BundleError::Io)?)
}
