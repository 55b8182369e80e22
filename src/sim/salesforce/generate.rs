//! Larger orgs from a seed: as many classes, flows, objects and bundles as public code bases of that size have,
//! with their sizes. Counts and quantiles are those of twelve public repositories (2,860 classes, 293 flows, 217
//! objects with 2,618 fields, 576 Lightning web components, 70 triggers, 55 permission sets).

mod apex;
mod metadata;

use std::collections::{BTreeMap, BTreeSet};

/// How much an org holds, counted in components with fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrgSize {
    /// The fixture alone.
    #[default]
    Small,
    /// About 1,000.
    OneThousand,
    /// About 10,000.
    TenThousand,
}

/// Components of the public code bases together.
const SAMPLE: usize = 6_700;

/// Numbers that follow from a seed (splitmix64, Steele et al. 2014).
pub struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A size with this median and 90th percentile, log-normal, at most `most`.
    fn size(&mut self, median: f64, p90: f64, most: usize) -> usize {
        let unit = |n: u64| ((n >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let (a, b) = (unit(self.roll()), unit(self.roll()));
        // Box and Muller, 1958; 1.2816 deviations lie below the 90th percentile.
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        let deviation = (p90 / median).ln() / 1.2816;
        ((median * (normal * deviation).exp()) as usize).clamp(1, most)
    }
}

/// Files by their paths, in the layout of the Metadata API; `taken` names are left to what is there.
pub fn files(size: OrgSize, seed: u64, taken: &BTreeSet<String>) -> BTreeMap<String, String> {
    let wanted = match size {
        OrgSize::Small => return BTreeMap::new(),
        OrgSize::OneThousand => 1_000,
        OrgSize::TenThousand => 10_000,
    };
    let count = |sample: usize| sample * wanted / SAMPLE;
    let mut dice = Dice(seed);
    let mut names = Names { taken: taken.clone() };
    let mut files = BTreeMap::new();
    let objects: Vec<String> = (0..count(217)).map(|_| names.object(&mut dice)).collect();
    for object in &objects {
        files.insert(format!("objects/{object}.object"), metadata::object(&mut dice, object));
    }
    let mut classes = Vec::new();
    while classes.len() < count(2_860) {
        let name = names.class(&mut dice);
        let object = objects[dice.below(objects.len())].as_str();
        files.insert(format!("classes/{name}.cls"), apex::class(&mut dice, &name, object, &classes));
        // 37 of 100 classes are tests.
        if dice.chance(58) {
            let source = apex::test(&mut dice, &name, object);
            files.insert(format!("classes/{name}Test.cls"), source);
            classes.push(format!("{name}Test"));
        }
        classes.push(name);
    }
    for n in 0..count(70) {
        let object = objects[n % objects.len()].as_str();
        let name = format!("{}Trigger{n}", object.trim_end_matches("__c").replace('_', ""));
        files.insert(format!("triggers/{name}.trigger"), apex::trigger(&name, object));
    }
    for _ in 0..count(293) {
        let name = names.flow(&mut dice);
        let object = objects[dice.below(objects.len())].as_str();
        files.insert(format!("flows/{name}.flow"), metadata::flow(&mut dice, &name, object));
    }
    for _ in 0..count(576) {
        let name = names.bundle(&mut dice);
        files.extend(metadata::bundle(&mut dice, &name));
    }
    for n in 0..count(55) {
        let text = metadata::permission_set(n, &objects[n % objects.len()]);
        files.insert(format!("permissionsets/Generated_{n:03}.permissionset"), text);
    }
    files
}

const FIRST: [&str; 40] = [
    "Account", "Archive", "Asset", "Balance", "Billing", "Campaign", "Charge", "Claim", "Contract", "Credit",
    "Customer", "Delivery", "Device", "Discount", "Email", "Energy", "Event", "Field", "Grid", "Invoice",
    "Lead", "Legacy", "Line", "Location", "Meter", "Mobile", "Notice", "Offer", "Order", "Partner",
    "Payment", "Portal", "Price", "Product", "Quote", "Reading", "Region", "Service", "Supplier", "Tariff",
];
const SECOND: [&str; 40] = [
    "Adjustment",
    "Allocation",
    "Approval",
    "Assignment",
    "Audit",
    "Booking",
    "Calculation",
    "Cancellation",
    "Check",
    "Closing",
    "Comparison",
    "Consent",
    "Correction",
    "Deadline",
    "Document",
    "Escalation",
    "Export",
    "Forecast",
    "History",
    "Import",
    "Item",
    "Limit",
    "Log",
    "Mapping",
    "Matching",
    "Migration",
    "Notification",
    "Overview",
    "Period",
    "Plan",
    "Position",
    "Queue",
    "Rating",
    "Reminder",
    "Request",
    "Rule",
    "Schedule",
    "Segment",
    "Summary",
    "Transfer",
];
const ROLES: [&str; 8] =
    ["Batch", "Controller", "Handler", "Helper", "Selector", "Service", "Validator", "Wrapper"];

/// Names that nothing has yet, in any case.
struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    fn fresh(&mut self, make: impl Fn(usize) -> String) -> String {
        let name = (0..1_000_000).map(make).find(|name| !self.taken.contains(&name.to_ascii_lowercase()));
        let name = name.unwrap_or_default();
        self.taken.insert(name.to_ascii_lowercase());
        name
    }

    fn class(&mut self, dice: &mut Dice) -> String {
        let (first, second, role) = (dice.pick(&FIRST), dice.pick(&SECOND), dice.pick(&ROLES));
        let name = self.fresh(|n| format!("{first}{second}{role}{}", number(n)));
        // Its test is named after it.
        self.taken.insert(format!("{name}test").to_ascii_lowercase());
        name
    }

    fn object(&mut self, dice: &mut Dice) -> String {
        let (first, second) = (dice.pick(&FIRST), dice.pick(&SECOND));
        self.fresh(|n| format!("{first}_{second}{}__c", number(n)))
    }

    fn flow(&mut self, dice: &mut Dice) -> String {
        let (first, second) = (dice.pick(&FIRST), dice.pick(&SECOND));
        self.fresh(|n| format!("{first}_{second}_Flow{}", number(n)))
    }

    fn bundle(&mut self, dice: &mut Dice) -> String {
        let (first, second) = (dice.pick(&FIRST).to_lowercase(), dice.pick(&SECOND));
        self.fresh(|n| format!("{first}{second}{}", number(n)))
    }
}

/// Nothing for the first of a name.
fn number(n: usize) -> String {
    if n == 0 { String::new() } else { (n + 1).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(files: &BTreeMap<String, String>, folder: &str) -> Vec<usize> {
        let mut sizes: Vec<usize> =
            files.iter().filter(|(p, _)| p.starts_with(folder)).map(|(_, t)| t.len()).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn a_seed_gives_the_same_org_and_the_counts_of_the_sample() {
        let files = files(OrgSize::OneThousand, 7, &BTreeSet::new());
        assert_eq!(files, super::files(OrgSize::OneThousand, 7, &BTreeSet::new()));
        assert_ne!(files, super::files(OrgSize::OneThousand, 8, &BTreeSet::new()));
        let classes = bytes(&files, "classes/");
        assert!((426..=427).contains(&classes.len()), "{}", classes.len());
        let median = classes[classes.len() / 2];
        assert!((3_000..7_000).contains(&median), "median class of {median} bytes");
        assert!((10_000..40_000).contains(&classes[classes.len() * 9 / 10]));
        assert_eq!(bytes(&files, "flows/").len(), 43);
        let tests = files.keys().filter(|p| p.ends_with("Test.cls")).count();
        assert!((100..=220).contains(&tests), "{tests}");
    }

    #[test]
    fn what_is_made_is_well_formed() {
        for (path, text) in files(OrgSize::OneThousand, 3, &BTreeSet::new()) {
            let (folder, _) = path.split_once('/').unwrap();
            if matches!(folder, "classes" | "triggers") {
                if text.len() < 20_000 {
                    assert_eq!(crate::apex::syntax_errors(&text), [], "{path}\n{text}");
                }
            } else if folder != "lwc" || text.starts_with("<?xml") {
                assert!(roxmltree::Document::parse(&text).is_ok(), "{path}\n{text}");
            }
        }
    }
}
