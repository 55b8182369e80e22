//! The house rules that no compiler checks: who may import whom, file sizes, no inline script or style, every
//! template used, nothing of the machine the code was written on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What each module may import of ours, besides what stands below it on the ladder.
const LADDER: [&[&str]; 26] = [
    &["apex", "clock"],
    &["ids"],
    &["seal"],
    &["store"],
    &["egress"],
    &["wire"],
    &["identity"],
    &["workspace"],
    &["jobs"],
    &["web"],
    &["ledger", "mail", "models"],
    &["sim"],
    &["notifications"],
    &["meter"],
    &["people", "admin", "audit", "backup", "orgs", "knowledge", "privacy"],
    &["access", "insights"],
    &["deployments"],
    &["chat"],
    &["health", "usage"],
    &["bundle"],
    &["api"],
    &["causes", "demo", "retention"],
    &["features", "console", "erasure"],
    &["app"],
    &["cli"],
    &["main", "lib"],
];

fn files(dir: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), ending, &mut found);
    assert!(!found.is_empty(), "no {ending} under {dir}");
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The first folder or file name below `src`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn imports_point_down_the_ladder() {
    let rank: BTreeMap<&str, usize> =
        LADDER.iter().enumerate().flat_map(|(n, names)| names.iter().map(move |name| (*name, n))).collect();
    for path in files("src", ".rs") {
        let own = module(&path);
        let own_rank = *rank.get(own.as_str()).unwrap_or_else(|| panic!("{own} has no place on the ladder"));
        let source = text(&path);
        for part in source.split("crate::").skip(1) {
            let name: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(other) = rank.get(name.as_str()) else { continue };
            assert!(name == own || *other < own_rank, "{} imports {name}", path.display());
        }
    }
}

#[test]
fn every_module_says_what_it_is_and_stays_short() {
    for path in files("src", ".rs").into_iter().chain(files("tests", ".rs")) {
        let source = text(&path);
        assert!(source.starts_with("//!"), "{} does not open with //!", path.display());
        let lines = source.lines().count();
        assert!(lines <= 500, "{} has {lines} lines", path.display());
    }
}

#[test]
fn slices_keep_no_state_of_their_own() {
    for path in files("src", ".rs") {
        if ["people", "audit", "health", "orgs", "insights"].contains(&module(&path).as_str()) {
            let source = text(&path);
            assert!(!source.lines().any(|l| l.trim_start().starts_with("static ")), "{}", path.display());
        }
    }
}

#[test]
fn only_the_store_names_the_engine() {
    for path in files("src", ".rs") {
        if module(&path) != "store" {
            assert!(!text(&path).contains("redb::"), "{} names redb", path.display());
        }
    }
}

#[test]
fn templates_hold_no_inline_script_or_style_and_are_all_used() {
    let sources: String = files("src", ".rs").iter().map(|p| text(p)).collect();
    let templates = files("templates", ".html");
    let all: String = templates.iter().map(|p| text(p)).collect();
    for path in &templates {
        let page = text(path);
        for bad in [
            " style=\"",
            "<script>",
            " onclick=",
            " onload=",
            " onsubmit=",
            "javascript:",
            "http://",
            "https://",
        ] {
            // Mail programs drop style sheets, so styles stand in place there.
            let is_mail = path.parent().is_some_and(|dir| dir.ends_with("mail"));
            assert!(!page.contains(bad) || (is_mail && bad == " style=\""), "{} holds {bad}", path.display());
        }
        let name = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")).unwrap();
        let quoted = format!("\"{}\"", name.display());
        assert!(sources.contains(&quoted) || all.contains(&quoted), "{quoted} is used by nothing");
    }
}

#[test]
fn every_icon_a_template_names_is_in_the_sprite() {
    let sprite = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/icons.svg"));
    for path in files("templates", ".html") {
        for part in text(&path).split("icon(\"").skip(1) {
            let name = part.split('"').next().unwrap();
            let symbol = format!("id=\"i-{name}\"");
            assert!(sprite.contains(&symbol), "{} names the icon {name}", path.display());
        }
    }
}

#[test]
fn every_mounted_route_is_on_the_feature_list() {
    let listed: Vec<String> =
        vynos::features::ROUTES.iter().map(|r| format!("{} {}", r.method.to_lowercase(), r.path)).collect();
    let mut mounted = 0;
    for path in files("src", ".rs").into_iter().filter(|path| module(path) != "sim") {
        for part in text(&path).split(".route(\"").skip(1) {
            let (route, rest) = part.split_once('"').unwrap();
            let method = rest.split("web::").nth(1).unwrap().split('(').next().unwrap();
            if route == "/assets/{file}" {
                continue;
            }
            mounted += 1;
            assert!(listed.contains(&format!("{method} {route}")), "{method} {route} is not in features.rs");
        }
    }
    assert_eq!(mounted, listed.len(), "features.rs lists a route that nothing mounts");
}
