//! Halden Energy: what the org holds at first. Metadata stands as files in the layout of the Metadata API
//! beside this module; data rows are made.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use rust_embed::RustEmbed;
use serde_json::{Value, json};

use super::kinds::{self, Kind};
use super::state::{Component, Faults, Org, Row, checksum, rest_time};
use super::{API_VERSION, Options, folder, generate};

#[derive(RustEmbed)]
#[folder = "src/sim/salesforce/fixture/"]
struct Files;

const USERS: [(&str, &str); 5] = [
    ("Mira Kovač", "mira.kovac@halden.example"),
    ("Jonas Weber", "jonas.weber@halden.example"),
    ("Aiko Tanaka", "aiko.tanaka@halden.example"),
    ("Samuel Okafor", "samuel.okafor@halden.example"),
    ("Vynos Integration", "vynos.integration@halden.example"),
];

const INDUSTRIES: [&str; 4] = ["Energy", "Retail", "Manufacturing", "Public sector"];

/// The org as it is at first, from these options.
pub fn load(options: &Options) -> std::io::Result<Org> {
    let Options { clock, production, size, seed, fixtures, .. } = options;
    let (production, size, seed, source) = (*production, *size, *seed, fixtures.as_deref());
    let mut org = Org {
        id: format!("00D000000000001{}", checksum("00D000000000001")),
        name: "Halden Energy".into(),
        production,
        users: USERS.to_vec(),
        components: BTreeMap::new(),
        rows: HashMap::new(),
        access_tokens: HashSet::new(),
        refresh_tokens: HashSet::new(),
        ended_refresh_tokens: HashSet::new(),
        codes: HashMap::new(),
        retrieves: HashMap::new(),
        deploys: Vec::new(),
        locators: VecDeque::new(),
        modified: clock.now(),
        calls: 0,
        serial: 100,
        faults: Faults::default(),
    };
    let mut files = match source {
        Some(path) => folder::read(path)?,
        None => embedded()?,
    };
    let taken = kinds::assemble(files.clone()).into_keys().map(|(_, name)| name.to_ascii_lowercase());
    files.extend(generate::files(size, seed, &taken.collect()));
    place(&mut org, files, clock.now());
    fill_rows(&mut org, clock.now());
    Ok(org)
}

fn embedded() -> std::io::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for path in Files::iter() {
        let Some(data) = Files::get(&path) else { continue };
        let text = String::from_utf8(data.data.into_owned()).map_err(std::io::Error::other)?;
        files.insert(path.to_string(), text);
    }
    Ok(files)
}

/// Puts files in the layout of the Metadata API into the org. What is no component is left out.
fn place(org: &mut Org, files: BTreeMap<String, String>, now: Timestamp) {
    for (n, (_, part)) in kinds::assemble(files).into_iter().enumerate() {
        // Spread over two years, so that pages and filters have something to show.
        let modified = ago(now, (n as i64 * 37) % 730);
        let id = org.new_id(part.kind.prefix);
        let component = Component {
            id,
            meta: part.meta.or_else(|| part.kind.meta.then(|| meta(part.kind))),
            file: part.file,
            source: part.source,
            extra: part.extra,
            created: ago(modified, 90),
            modified,
            modified_by: n % 4,
        };
        org.components.insert((part.kind.name.to_owned(), part.name), component);
    }
}

fn ago(now: Timestamp, days: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(24 * days)).unwrap_or(now)
}

fn meta(kind: &Kind) -> String {
    let state = if kind.bundle { "<isExposed>true</isExposed>" } else { "<status>Active</status>" };
    let kind = kind.name;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{kind} xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n    \
         <apiVersion>{API_VERSION}</apiVersion>\n    {state}\n</{kind}>\n"
    )
}

fn row(value: Value) -> Row {
    match value {
        Value::Object(map) => map,
        _ => Row::new(),
    }
}

fn fill_rows(org: &mut Org, now: Timestamp) {
    let organization = row(json!({
        "Id": org.id, "Name": org.name, "InstanceName": "DEU12", "IsSandbox": !org.production,
        "OrganizationType": "Enterprise Edition", "NamespacePrefix": null, "TrialExpirationDate": null,
        "LanguageLocaleKey": "en_US",
    }));
    org.rows.insert("Organization", vec![organization]);
    let users = USERS.iter().enumerate().map(|(n, (name, username))| {
        row(json!({ "Id": user_id(n), "Name": name, "Username": username, "IsActive": true, "UserType": "Standard" }))
    });
    let users: Vec<Row> = users.collect();
    org.rows.insert("User", users);
    let accounts = (1..=2_400).map(|n| {
        let fifteen = format!("001{n:012}");
        row(json!({
            "Id": format!("{fifteen}{}", checksum(&fifteen)),
            "Name": format!("Account {n:05}"),
            "Industry": INDUSTRIES[n % INDUSTRIES.len()],
            "AnnualRevenue": n * 1_000,
            "CreatedDate": rest_time(ago(now, (n % 700) as i64)),
        }))
    });
    let accounts: Vec<Row> = accounts.collect();
    org.rows.insert("Account", accounts);
}

/// The id of the n-th user.
pub fn user_id(n: usize) -> String {
    let fifteen = format!("005{:012}", n + 1);
    format!("{fifteen}{}", checksum(&fifteen))
}
