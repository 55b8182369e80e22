//! APX-006 and APX-007: record ids and org addresses in string literals.

use super::{File, in_test, literals};
use crate::insights::rules::Severity;
use crate::insights::rules::finding::Hit;
use crate::insights::rules::literals::{org_hosts, record_ids, sign_in_hosts};

pub fn check(file: &File<'_>, out: &mut Vec<Hit>) {
    let signs_in =
        ["auth", "login", "oauth"].iter().any(|w| file.component.name.to_ascii_lowercase().contains(w));
    for (node, text) in literals(file.apex) {
        for id in record_ids(text) {
            let hit = Hit::at("APX-006", node, format!("The record id {id} is written in the code."));
            out.push(if in_test(node) { hit.severity(Severity::Info) } else { hit });
        }
        if in_test(node) {
            continue;
        }
        let mut hosts = org_hosts(text);
        if !signs_in && !text.contains("/services/oauth2") {
            hosts.extend(sign_in_hosts(text));
        }
        for host in hosts {
            out.push(Hit::at("APX-007", node, format!("The address {host} is written in the code.")));
        }
    }
}
