//! Halden Energy: what the org holds at first. Metadata stands as files in the layout of the Metadata API
//! beside this module; data rows are made.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use rust_embed::RustEmbed;
use serde_json::{Value, json};

use super::API_VERSION;
use super::state::{Component, Faults, Org, Row, checksum, rest_time};
use crate::clock::Clock;

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

/// Folder, ending, type, key prefix, whether a `-meta.xml` goes with it.
pub const TYPES: [(&str, &str, &str, &str, bool); 5] = [
    ("classes", "cls", "ApexClass", "01p", true),
    ("flows", "flow", "Flow", "301", false),
    ("objects", "object", "CustomObject", "01I", false),
    ("permissionsets", "permissionset", "PermissionSet", "0PS", false),
    ("triggers", "trigger", "ApexTrigger", "01q", true),
];

pub fn load(clock: &Clock, production: bool) -> std::io::Result<Org> {
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
        locators: VecDeque::new(),
        calls: 0,
        serial: 100,
        faults: Faults::default(),
    };
    let mut paths: Vec<_> = Files::iter().collect();
    paths.sort();
    for (n, path) in paths.iter().enumerate() {
        let Some((folder, file)) = path.split_once('/') else { continue };
        let Some((_, ending, kind, prefix, has_meta)) = TYPES.iter().find(|t| t.0 == folder) else {
            continue;
        };
        let Some(name) = file.strip_suffix(&format!(".{ending}")) else { continue };
        let Some(data) = Files::get(path) else { continue };
        let source = String::from_utf8(data.data.into_owned()).map_err(std::io::Error::other)?;
        // Spread over two years, so that pages and filters have something to show.
        let modified = ago(clock.now(), (n as i64 * 37) % 730);
        let id = org.new_id(prefix);
        let meta = has_meta.then(|| meta(kind));
        let component = Component {
            id,
            file: path.to_string(),
            source,
            meta,
            created: ago(modified, 90),
            modified,
            modified_by: n % 4,
        };
        org.components.insert((kind.to_string(), name.to_owned()), component);
    }
    fill_rows(&mut org, clock.now());
    Ok(org)
}

fn ago(now: Timestamp, days: i64) -> Timestamp {
    now.checked_sub(SignedDuration::from_hours(24 * days)).unwrap_or(now)
}

fn meta(kind: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{kind} xmlns=\"http://soap.sforce.com/2006/04/metadata\">\n    \
         <apiVersion>{API_VERSION}</apiVersion>\n    <status>Active</status>\n</{kind}>\n"
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
