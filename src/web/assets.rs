//! Embedded files under content-hashed names, so that browsers keep them for a year.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::LazyLock;

use actix_web::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, VARY};
use actix_web::{HttpRequest, HttpResponse, web};
use askama::filters::Safe;
use rust_embed::RustEmbed;

use super::Problem;

#[derive(RustEmbed)]
#[folder = "assets/"]
#[exclude = "licenses/*"]
struct Files;

struct Asset {
    url: String,
    kind: &'static str,
    plain: Vec<u8>,
    gzip: Option<Vec<u8>>,
}

/// By plain name.
static ASSETS: LazyLock<HashMap<String, Asset>> = LazyLock::new(load);
/// Hashed file name -> plain name.
static NAMES: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    ASSETS
        .iter()
        .map(|(name, asset)| (asset.url.trim_start_matches("/assets/").to_owned(), name.clone()))
        .collect()
});

/// Stylesheets and scripts name other files, so those come first and the names in them are rewritten.
fn load() -> HashMap<String, Asset> {
    let mut names: Vec<String> = Files::iter().map(std::borrow::Cow::into_owned).collect();
    names.sort_by_key(|name| (is(name, "css"), name.clone()));
    let mut loaded: HashMap<String, Asset> = HashMap::new();
    for name in names {
        let Some(file) = Files::get(&name) else { continue };
        let mut plain = file.data.into_owned();
        if is(&name, "css") {
            let mut text = String::from_utf8_lossy(&plain).into_owned();
            for (other, asset) in &loaded {
                text = text.replace(&format!("url({other})"), &format!("url({})", asset.url));
            }
            plain = lean(&text).into_bytes();
        }
        let hash = ring::digest::digest(&ring::digest::SHA256, &plain);
        let hash = crate::seal::hex(&hash.as_ref()[..6]);
        let (stem, extension) = name.rsplit_once('.').unwrap_or((&name, "bin"));
        let url = format!("/assets/{stem}.{hash}.{extension}");
        let kind = kind_of(extension);
        let gzip = (extension != "woff2").then(|| gzip(&plain)).flatten();
        loaded.insert(name, Asset { url, kind, plain, gzip });
    }
    loaded
}

/// A stylesheet without what only its authors read: comments, indentation, line breaks.
fn lean(css: &str) -> String {
    let mut text = String::with_capacity(css.len());
    let mut rest = css;
    while let Some((before, comment)) = rest.split_once("/*") {
        text.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.lines().map(str::trim).collect()
}

fn is(name: &str, extension: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e == extension)
}

fn kind_of(extension: &str) -> &'static str {
    match extension {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

/// The address of an embedded file; an unknown name gives an address that answers 404.
pub fn asset(name: &str) -> &'static str {
    ASSETS.get(name).map_or("/assets/missing", |a| a.url.as_str())
}

/// An icon of the sprite. Decoration: put a visible or `.vh` label beside it.
pub fn icon(name: &str) -> Safe<String> {
    Safe(format!(r#"<svg class="i" aria-hidden="true"><use href="{}#i-{name}"/></svg>"#, asset("icons.svg")))
}

/// `/assets/{file}`.
pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/assets/{file}", web::get().to(file));
}

async fn file(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, Problem> {
    let asset = NAMES.get(file.as_str()).and_then(|name| ASSETS.get(name)).ok_or(Problem::NotFound)?;
    let accepts_gzip = request
        .headers()
        .get(ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|e| e.trim().starts_with("gzip")));
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable")).content_type(asset.kind);
    Ok(match &asset.gzip {
        Some(gzip) if accepts_gzip => answer
            .insert_header((CONTENT_ENCODING, "gzip"))
            .insert_header((VARY, "accept-encoding"))
            .body(gzip.clone()),
        Some(_) => answer.insert_header((VARY, "accept-encoding")).body(asset.plain.clone()),
        None => answer.body(asset.plain.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_a_stylesheet_names_is_there_under_its_hashed_name() {
        for (name, asset) in ASSETS.iter().filter(|(name, _)| is(name, "css")) {
            let text = String::from_utf8_lossy(&asset.plain);
            for part in text.split("url(").skip(1) {
                let target = part.split(')').next().unwrap();
                assert!(target.starts_with("/assets/"), "{name}: {target}");
                assert!(NAMES.contains_key(target.trim_start_matches("/assets/")), "{name}: {target}");
            }
        }
    }
    #[test]
    fn stylesheets_lose_their_comments_and_nothing_else() {
        assert_eq!(
            lean("/* why */\n.a{color:red}\n\n  .b .c{\n  top:0\n}/* end"),
            ".a{color:red}.b .c{top:0}"
        );
    }

    /// What every page loads, and beside it what one page of a slice loads at most.
    #[test]
    fn a_first_visit_stays_light() {
        let weight = |names: &[&str]| -> usize {
            names.iter().filter_map(|name| ASSETS.get(*name)?.gzip.as_ref()).map(Vec::len).sum()
        };
        let shared = ["tokens.css", "app.css", "form.js", "live.js"];
        let (sheets, scripts) = (weight(&shared[..2]), weight(&shared[2..]));
        assert!(sheets <= 14 * 1024, "shared stylesheets weigh {sheets} bytes");
        let rest = |kind: &str| -> Vec<(&str, usize)> {
            let own = ASSETS
                .iter()
                .filter(|(name, a)| a.kind.starts_with(kind) && !shared.contains(&name.as_str()));
            own.map(|(name, _)| (name.as_str(), weight(&[name.as_str()]))).collect()
        };
        for (name, own) in rest("text/css") {
            assert!(own <= 3 * 1024, "{name} weighs {own} bytes");
        }
        for (name, own) in rest("text/javascript") {
            assert!(scripts + own <= 25 * 1024, "{name} weighs {own} bytes");
        }
        let fonts: usize = ASSETS.values().filter(|a| a.kind == "font/woff2").map(|a| a.plain.len()).sum();
        assert!(fonts <= 70 * 1024, "fonts weigh {fonts} bytes");
    }
}
