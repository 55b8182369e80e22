//! Every rule: what it is called, how bad it is, why it matters and how to fix it.

use serde::{Deserialize, Serialize};

use super::Severity;
use Area::{AccessAndSharing, ApexCode, Automation, DataModel, Limits, Tests};
use Category::{Maintainability, Performance, Reliability, Security};
use Severity::{Critical, High, Low, Medium};

/// What kind of harm it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    Limits,
    Maintainability,
    Performance,
    Reliability,
    Security,
    Tests,
}

impl Category {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Maintainability => "maintainability",
            Self::Performance => "performance",
            Self::Reliability => "reliability",
            Self::Security => "security",
            Self::Tests => "tests",
        }
    }
}

/// The area of org health that a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    Automation,
    ApexCode,
    AccessAndSharing,
    DataModel,
    Limits,
    Tests,
}

impl Area {
    /// In the order of the health page.
    pub const ALL: [Self; 6] = [Automation, ApexCode, AccessAndSharing, DataModel, Limits, Tests];

    pub fn title(self) -> &'static str {
        match self {
            Self::Automation => "Automation",
            Self::ApexCode => "Apex code",
            Self::AccessAndSharing => "Access and sharing",
            Self::DataModel => "Data model",
            Self::Limits => "Limits",
            Self::Tests => "Tests",
        }
    }
}

/// One rule of the catalogue.
#[derive(Debug)]
pub struct RuleInfo {
    pub id: &'static str,
    pub name: &'static str,
    pub title: &'static str,
    /// The usual one; some hits are milder or worse.
    pub severity: Severity,
    pub category: Category,
    pub area: Area,
    pub why: &'static str,
    pub fix: &'static str,
    /// Minutes a fix takes as a rule, for ranking.
    pub effort_minutes: u32,
    /// Names of PMD's rules whose suppressions count for this one.
    pub pmd: &'static [&'static str],
}

/// Every rule, by id.
pub fn catalogue() -> &'static [RuleInfo] {
    RULES
}

/// The rule of this id.
pub fn rule(id: &str) -> Option<&'static RuleInfo> {
    RULES.iter().find(|rule| rule.id == id)
}

const RULES: &[RuleInfo] = &[
    RuleInfo {
        id: "APX-001",
        name: "loop-limit",
        title: "Query, DML or call with a limit inside a loop",
        severity: High,
        category: Performance,
        area: ApexCode,
        why: "Each pass of the loop uses up a governor limit (100 queries, 150 DML statements a transaction), so the code fails as soon as enough records come at once.",
        fix: "Collect ids or records in the loop; query once before it into a map, and run one DML statement on a list after it.",
        effort_minutes: 60,
        pmd: &[
            "OperationWithLimitsInLoop",
            "AvoidSoqlInLoops",
            "AvoidDmlStatementsInLoops",
            "AvoidSoslInLoops",
        ],
    },
    RuleInfo {
        id: "APX-004",
        name: "soql-injection",
        title: "Outside text in a dynamic query",
        severity: Critical,
        category: Security,
        area: AccessAndSharing,
        why: "Text that a caller controls becomes part of the query, so a caller can read records that the query was not meant to return.",
        fix: "Use a bind (:name, or queryWithBinds with a map). Where text must be joined in, pass it through String.escapeSingleQuotes inside quotes, and check field names against the describe.",
        effort_minutes: 45,
        pmd: &["ApexSOQLInjection"],
    },
    RuleInfo {
        id: "APX-005",
        name: "no-sharing",
        title: "Class reads or writes data without a sharing keyword",
        severity: High,
        category: Security,
        area: AccessAndSharing,
        why: "Without a keyword the class runs with the sharing of whoever calls it; called first in a request it ignores record access.",
        fix: "Declare `with sharing`, or `inherited sharing` for helpers. Keep `without sharing` for the few classes that need it and say why in a comment.",
        effort_minutes: 15,
        pmd: &["ApexSharingViolations"],
    },
    RuleInfo {
        id: "APX-006",
        name: "hard-id",
        title: "Record id in code",
        severity: High,
        category: Reliability,
        area: ApexCode,
        why: "Ids differ between orgs, so the code works in one org only and fails or hits the wrong record after a deployment.",
        fix: "Look the record up by a stable name (developer name, external id), or keep the id in custom metadata.",
        effort_minutes: 30,
        pmd: &["AvoidHardcodingId"],
    },
    RuleInfo {
        id: "APX-007",
        name: "hard-url",
        title: "Address of an org in code",
        severity: Medium,
        category: Reliability,
        area: ApexCode,
        why: "The address changes with the org, its My Domain and its instance; the code breaks in sandboxes and after a move.",
        fix: "Use URL.getOrgDomainUrl(), a PageReference or a Named Credential.",
        effort_minutes: 20,
        pmd: &[],
    },
    RuleInfo {
        id: "APX-008",
        name: "hard-secret",
        title: "Credential in code",
        severity: Critical,
        category: Security,
        area: AccessAndSharing,
        why: "Whoever can read the code, its history or a copy of it can use the credential; changing it needs a deployment.",
        fix: "Revoke the credential, then use a Named Credential with an External Credential, or protected custom metadata of a package.",
        effort_minutes: 60,
        pmd: &["ApexSuggestUsingNamedCred"],
    },
    RuleInfo {
        id: "APX-015",
        name: "trigger-logic",
        title: "Logic in a trigger, or several triggers for one event",
        severity: Medium,
        category: Maintainability,
        area: Automation,
        why: "Logic in a trigger can't be called from tests or switched off, and the order of several triggers on one event is not defined.",
        fix: "Keep one trigger per object that hands over to a handler class.",
        effort_minutes: 90,
        pmd: &["AvoidLogicInTrigger"],
    },
    RuleInfo {
        id: "APX-017",
        name: "unbounded-query",
        title: "Query without WHERE and LIMIT",
        severity: Medium,
        category: Performance,
        area: ApexCode,
        why: "The query reads the whole table, so it gets slower with every record and fails at 50,000 rows.",
        fix: "Filter on an indexed field or add a LIMIT.",
        effort_minutes: 20,
        pmd: &["AvoidNonRestrictiveQueries"],
    },
    RuleInfo {
        id: "APX-018",
        name: "swallowed-exception",
        title: "Empty catch block",
        severity: Medium,
        category: Reliability,
        area: ApexCode,
        why: "The error disappears: data stays half-written and nobody learns of it.",
        fix: "Handle the exception, log it, or let it pass. If it really is expected, name it `ignored`.",
        effort_minutes: 15,
        pmd: &["EmptyCatchBlock"],
    },
    RuleInfo {
        id: "APX-019",
        name: "test-no-assert",
        title: "Test without an assertion",
        severity: Medium,
        category: Category::Tests,
        area: Tests,
        why: "The test passes whatever the code does; it gives coverage and no safety.",
        fix: "Assert the outcome with Assert.areEqual or the like, with a message.",
        effort_minutes: 30,
        pmd: &["ApexUnitTestClassShouldHaveAsserts"],
    },
    RuleInfo {
        id: "APX-020",
        name: "see-all-data",
        title: "Test reads the org's own data",
        severity: Medium,
        category: Category::Tests,
        area: Tests,
        why: "The test depends on records that differ between orgs and over time, so it fails by chance and blocks deployments.",
        fix: "Remove SeeAllData=true and create the records in @TestSetup.",
        effort_minutes: 60,
        pmd: &["ApexUnitTestShouldNotUseSeeAllDataTrue"],
    },
    RuleInfo {
        id: "APX-022",
        name: "old-api",
        title: "Old API version",
        severity: Medium,
        category: Maintainability,
        area: ApexCode,
        why: "Old versions keep old behaviour and miss newer language features; versions up to 30 are retired.",
        fix: "Raise the API version, run the tests and read the release notes on versioned changes.",
        effort_minutes: 30,
        pmd: &[],
    },
    RuleInfo {
        id: "APX-025",
        name: "debug-left",
        title: "System.debug outside tests",
        severity: Low,
        category: Maintainability,
        area: ApexCode,
        why: "Debug lines cost CPU time even when no log is kept, and what they print ends up in logs.",
        fix: "Remove it, or use the org's logging class.",
        effort_minutes: 5,
        pmd: &["AvoidDebugStatements", "DebugsShouldUseLoggingLevel"],
    },
    RuleInfo {
        id: "FLW-001",
        name: "dml-in-loop",
        title: "Flow writes records inside a loop",
        severity: High,
        category: Performance,
        area: Automation,
        why: "Each pass writes once, and 150 writes a transaction are the limit, so the flow fails when many records come at once.",
        fix: "Collect the records in a collection variable inside the loop and write the collection once after it.",
        effort_minutes: 60,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-002",
        name: "soql-in-loop",
        title: "Flow gets records inside a loop",
        severity: High,
        category: Performance,
        area: Automation,
        why: "Each pass queries once, and 100 queries a transaction are the limit.",
        fix: "Get all records before the loop and pick from the collection with a filter element.",
        effort_minutes: 60,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-003",
        name: "action-in-loop",
        title: "Flow calls an action inside a loop",
        severity: Medium,
        category: Performance,
        area: Automation,
        why: "Actions often query, write or call out, once for each pass.",
        fix: "Use an action that takes a collection and call it once after the loop.",
        effort_minutes: 60,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-004",
        name: "no-fault-path",
        title: "Flow element without a fault path",
        severity: Medium,
        category: Reliability,
        area: Automation,
        why: "When the element fails, the person sees \"An unhandled fault has occurred\" and nobody learns the reason.",
        fix: "Add a fault path that tells the person or the team what failed, or that rolls back.",
        effort_minutes: 20,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-006",
        name: "flow-hard-id",
        title: "Record id in a flow",
        severity: High,
        category: Reliability,
        area: Automation,
        why: "Ids differ between orgs, so the flow works in one org only.",
        fix: "Get the record by a stable name, or keep the id in custom metadata.",
        effort_minutes: 30,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-007",
        name: "flow-hard-url",
        title: "Address of an org in a flow",
        severity: Medium,
        category: Reliability,
        area: Automation,
        why: "The address changes with the org, its My Domain and its instance.",
        fix: "Use $Api.Enterprise_Server_URL, a formula on the record's id, or a custom setting.",
        effort_minutes: 20,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-008",
        name: "unsafe-context",
        title: "Flow runs without sharing",
        severity: Medium,
        category: Security,
        area: AccessAndSharing,
        why: "The flow reads and writes every record, whatever the person running it may see.",
        fix: "Run it in system context with sharing, or in the default context; elevate only in a small subflow.",
        effort_minutes: 30,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-010",
        name: "no-entry-filter",
        title: "Record-triggered flow without entry conditions",
        severity: Medium,
        category: Performance,
        area: Automation,
        why: "The flow starts on every save of every record of the object, also when nothing it cares about has changed.",
        fix: "Add entry conditions, and start only when a record is updated to meet them.",
        effort_minutes: 20,
        pmd: &[],
    },
    RuleInfo {
        id: "FLW-014",
        name: "legacy-automation",
        title: "Process Builder or workflow rule in use",
        severity: Medium,
        category: Maintainability,
        area: Automation,
        why: "Salesforce no longer supports both; they run apart from flows and make the order of automation hard to see.",
        fix: "Move it into a record-triggered flow with Migrate to Flow, then switch it off.",
        effort_minutes: 120,
        pmd: &[],
    },
    RuleInfo {
        id: "LIM-001",
        name: "limit-near",
        title: "Org limit nearly used up",
        severity: High,
        category: Category::Limits,
        area: Limits,
        why: "When the limit is reached Salesforce refuses further calls, records or mails.",
        fix: "Find the largest consumer and reduce it, or ask Salesforce for a higher limit.",
        effort_minutes: 240,
        pmd: &[],
    },
    RuleInfo {
        id: "OBJ-003",
        name: "no-description",
        title: "Custom object, field or permission set without a description",
        severity: Low,
        category: Maintainability,
        area: DataModel,
        why: "Nobody knows what it is for, so nobody dares to change or retire it.",
        fix: "Write one sentence: what it holds, who fills it, who reads it.",
        effort_minutes: 10,
        pmd: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_are_unique_and_ordered() {
        let ids: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(ids, sorted);
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ids.len());
    }
}
