//! A flow as elements and connectors, read from its metadata XML.

use std::collections::{BTreeSet, HashMap};

use roxmltree::Node;

use crate::insights::rules::objects::{child, document, line_of, text_of};

/// A flow.
pub struct Flow {
    pub process_type: String,
    pub status: String,
    /// Line of `runInMode` when it says system mode without sharing.
    pub without_sharing: Option<u32>,
    pub trigger: Option<Trigger>,
    pub elements: Vec<Element>,
    /// Values, formulas and templates.
    pub texts: Vec<Text>,
    start: Vec<Next>,
    by_name: HashMap<String, usize>,
    leading: Vec<Vec<usize>>,
}

/// What starts a flow on a record.
pub struct Trigger {
    pub object: String,
    pub on_save: bool,
    pub before_save: bool,
    /// `Create`, `Update`, `CreateAndUpdate`, `Delete`.
    pub record_event: String,
    pub filtered: bool,
    pub line: u32,
}

pub struct Element {
    pub name: String,
    pub kind: Kind,
    pub line: u32,
    pub next: Vec<Next>,
    /// Of a subflow: the flow it runs.
    pub subflow: Option<String>,
    /// Whether it works on the record that started the flow.
    pub on_record: bool,
    /// Of a wait: whether it waits for more than time.
    pub can_fail: bool,
}

/// A connector.
pub struct Next {
    pub target: String,
    pub fault: bool,
    /// Of a loop: the path for each item.
    pub each_item: bool,
}

/// A text that a person wrote into a value or formula.
pub struct Text {
    pub text: String,
    pub line: u32,
    pub element: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Action,
    Create,
    Delete,
    GetRecords,
    Loop,
    Other,
    Screen,
    Subflow,
    Update,
    Wait,
}

impl Kind {
    pub fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Delete | Self::Update)
    }

    fn of(tag: &str) -> Option<Self> {
        Some(match tag {
            "actionCalls" | "apexPluginCalls" => Self::Action,
            "loops" => Self::Loop,
            "recordCreates" => Self::Create,
            "recordDeletes" => Self::Delete,
            "recordLookups" => Self::GetRecords,
            "recordUpdates" => Self::Update,
            "screens" => Self::Screen,
            "subflows" => Self::Subflow,
            "waits" => Self::Wait,
            "assignments"
            | "collectionProcessors"
            | "customErrors"
            | "decisions"
            | "orchestratedStages"
            | "recordRollbacks"
            | "steps"
            | "transforms" => Self::Other,
            _ => return None,
        })
    }
}

/// Tags whose text is a value, a formula or a template.
const VALUES: [&str; 6] =
    ["expression", "fieldText", "filterFormula", "formulaExpression", "stringValue", "text"];

/// Reads a flow.
///
/// # Errors
/// What to tell the reader when the XML does not parse.
pub fn read(source: &str) -> Result<Flow, String> {
    let document = document(source)?;
    let root = document.root_element();
    let mut flow = Flow {
        process_type: text_of(root, "processType").unwrap_or("").to_owned(),
        status: text_of(root, "status").unwrap_or("").to_owned(),
        without_sharing: child(root, "runInMode")
            .filter(|node| node.text().is_some_and(|text| text.trim() == "SystemModeWithoutSharing"))
            .map(line_of),
        trigger: None,
        elements: Vec::new(),
        texts: Vec::new(),
        start: Vec::new(),
        by_name: HashMap::new(),
        leading: Vec::new(),
    };
    if let Some(target) = text_of(root, "startElementReference") {
        flow.start.push(Next { target: target.to_owned(), fault: false, each_item: false });
    }
    for node in root.children().filter(Node::is_element) {
        let tag = node.tag_name().name();
        let name = text_of(node, "name").unwrap_or(tag).to_owned();
        flow.texts.extend(texts(node, &name));
        if tag == "start" {
            flow.start.extend(connectors(node));
            flow.trigger = trigger(node);
        } else if let Some(kind) = Kind::of(tag) {
            flow.by_name.insert(name.clone(), flow.elements.len());
            flow.elements.push(Element {
                name,
                kind,
                line: line_of(node),
                next: connectors(node),
                subflow: text_of(node, "flowName").map(str::to_owned),
                on_record: text_of(node, "inputReference") == Some("$Record"),
                can_fail: waits_for_more_than_time(node),
            });
        }
    }
    flow.leading = leading(&flow);
    Ok(flow)
}

fn connectors(node: Node<'_, '_>) -> Vec<Next> {
    let is_connector = |tag: &str| tag == "connector" || tag.ends_with("Connector");
    node.descendants()
        .filter(|n| n.is_element() && is_connector(n.tag_name().name()))
        .filter_map(|n| {
            let tag = n.tag_name().name();
            let target = text_of(n, "targetReference")?.to_owned();
            Some(Next { target, fault: tag == "faultConnector", each_item: tag == "nextValueConnector" })
        })
        .collect()
}

fn texts(node: Node<'_, '_>, element: &str) -> Vec<Text> {
    node.descendants()
        .filter(|n| VALUES.contains(&n.tag_name().name()))
        .filter_map(|n| {
            let text = n.text()?.trim().to_owned();
            (!text.is_empty()).then(|| Text { text, line: line_of(n), element: element.to_owned() })
        })
        .collect()
}

fn trigger(start: Node<'_, '_>) -> Option<Trigger> {
    let kind = text_of(start, "triggerType")?;
    let changed_to_meet = text_of(start, "doesRequireRecordChangedToMeetCriteria") == Some("true");
    Some(Trigger {
        object: text_of(start, "object").unwrap_or("").to_owned(),
        on_save: matches!(kind, "RecordAfterSave" | "RecordBeforeSave"),
        before_save: kind == "RecordBeforeSave",
        record_event: text_of(start, "recordTriggerType").unwrap_or("").to_owned(),
        filtered: changed_to_meet
            || child(start, "filters").is_some()
            || text_of(start, "filterFormula").is_some(),
        line: line_of(start),
    })
}

fn waits_for_more_than_time(node: Node<'_, '_>) -> bool {
    let only_time = matches!(text_of(node, "elementSubtype"), Some("WaitDate" | "WaitDuration"));
    let events: Vec<_> = node.children().filter_map(|n| text_of(n, "eventType")).collect();
    let alarms =
        !events.is_empty() && events.iter().all(|e| matches!(*e, "AlarmEvent" | "DateRefAlarmEvent"));
    !only_time && !alarms
}

fn leading(flow: &Flow) -> Vec<Vec<usize>> {
    let mut leading = vec![Vec::new(); flow.elements.len()];
    for (from, element) in flow.elements.iter().enumerate() {
        for target in element.next.iter().filter_map(|next| flow.place(&next.target)) {
            leading[target].push(from);
        }
    }
    leading
}

impl Flow {
    pub fn place(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Where the flow begins, scheduled paths too.
    pub fn starts(&self) -> impl Iterator<Item = usize> {
        self.start.iter().filter_map(|next| self.place(&next.target))
    }

    /// The elements with a connector to this one.
    pub fn leading_to(&self, place: usize) -> impl Iterator<Item = usize> {
        self.leading[place].iter().copied()
    }

    /// Everything that these elements lead to, themselves included, over connectors that `takes` accepts.
    pub fn reachable(
        &self,
        starts: impl Iterator<Item = usize>,
        takes: impl Fn(usize, &Next) -> bool,
    ) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = starts.collect();
        while let Some(place) = open.pop() {
            if found.insert(place) {
                let next = self.elements[place].next.iter().filter(|next| takes(place, next));
                open.extend(next.filter_map(|next| self.place(&next.target)));
            }
        }
        found
    }

    /// Process Builder keeps its processes as flows.
    pub fn is_legacy(&self) -> bool {
        matches!(self.process_type.as_str(), "InvocableProcess" | "Workflow")
    }

    pub fn is_before_save(&self) -> bool {
        self.trigger.as_ref().is_some_and(|trigger| trigger.before_save)
    }
}
