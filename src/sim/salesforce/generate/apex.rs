//! Apex of generated orgs: methods are added until a class has its size.

use std::fmt::Write as _;

use super::Dice;

const VERBS: [&str; 12] = [
    "apply",
    "archive",
    "assign",
    "calculate",
    "check",
    "close",
    "collect",
    "compare",
    "notify",
    "prepare",
    "release",
    "transfer",
];
const THINGS: [&str; 12] = [
    "Amounts",
    "Batches",
    "Deadlines",
    "Entries",
    "Items",
    "Lines",
    "Owners",
    "Periods",
    "Positions",
    "Records",
    "Rows",
    "Totals",
];

/// A class that works on an object and may call one of the classes before it.
pub fn class(dice: &mut Dice, name: &str, object: &str, others: &[String]) -> String {
    let wanted = dice.size(4_600.0, 24_600.0, 900_000);
    let sharing = if dice.chance(92) { "with sharing " } else { "" };
    let mut source = format!("/**\n * Works on {object}.\n */\npublic {sharing}class {name} {{\n");
    source.push_str("    private static final Integer MOST = 200;\n\n    public static Integer most() {\n        return MOST;\n    }\n");
    let mut n = 0;
    while source.len() < wanted {
        n += 1;
        let method = format!("{}{}{n}", dice.pick(&VERBS), dice.pick(&THINGS));
        source.push('\n');
        match dice.below(6) {
            0 => query(&mut source, &method, object),
            1 => save(&mut source, &method, object),
            2 => compute(dice, &mut source, &method),
            3 => group(&mut source, &method, object),
            4 if dice.chance(6) => query_in_loop(&mut source, &method, object),
            _ => call(dice, &mut source, &method, others),
        }
    }
    source.push_str("}\n");
    source
}

fn query(source: &mut String, method: &str, object: &str) {
    let _ = write!(
        source,
        "    public static List<{object}> {method}(Set<Id> ids) {{\n        return [\n            SELECT Id, Name, \
         CreatedDate\n            FROM {object}\n            WHERE Id IN :ids\n            WITH USER_MODE\n            \
         LIMIT 2000\n        ];\n    }}\n"
    );
}

fn query_in_loop(source: &mut String, method: &str, object: &str) {
    let _ = write!(
        source,
        "    public static Integer {method}(List<Id> ids) {{\n        Integer found = 0;\n        for (Id one : ids) \
         {{\n            List<{object}> rows = [SELECT Id FROM {object} WHERE Id = :one];\n            found += \
         rows.size();\n        }}\n        return found;\n    }}\n"
    );
}

fn save(source: &mut String, method: &str, object: &str) {
    let _ = write!(
        source,
        "    public static void {method}(List<{object}> rows) {{\n        List<{object}> changed = new \
         List<{object}>();\n        for ({object} row : rows) {{\n            if (String.isNotBlank(row.Name) && \
         changed.size() < MOST) {{\n                changed.add(row);\n            }}\n        }}\n        update as \
         user changed;\n    }}\n"
    );
}

fn compute(dice: &mut Dice, source: &mut String, method: &str) {
    let (factor, limit) = (dice.below(90) + 10, dice.below(900) + 100);
    let _ = write!(
        source,
        "    public static Decimal {method}(Decimal amount, Integer months) {{\n        if (amount == null || months \
         == null || months < 1) {{\n            return 0;\n        }}\n        Decimal result = amount * months * \
         {factor} / 100;\n        if (result > {limit}) {{\n            result = {limit} + (result - {limit}) / 2;\n        \
         }}\n        return result.setScale(2);\n    }}\n"
    );
}

fn group(source: &mut String, method: &str, object: &str) {
    let _ = write!(
        source,
        "    public static Map<String, List<{object}>> {method}(List<{object}> rows) {{\n        Map<String, \
         List<{object}>> byName = new Map<String, List<{object}>>();\n        for ({object} row : rows) {{\n            \
         if (!byName.containsKey(row.Name)) {{\n                byName.put(row.Name, new List<{object}>());\n            \
         }}\n            byName.get(row.Name).add(row);\n        }}\n        return byName;\n    }}\n"
    );
}

fn call(dice: &mut Dice, source: &mut String, method: &str, others: &[String]) {
    // Tests are called by nobody.
    let other = others.get(dice.below(others.len())).filter(|name| !name.ends_with("Test"));
    let value = other.map_or("MOST".to_owned(), |name| format!("{name}.most()"));
    let _ = write!(
        source,
        "    public static Boolean {method}(Integer count) {{\n        Integer most = {value};\n        return count != \
         null && count <= most;\n    }}\n"
    );
}

/// The test of a class.
pub fn test(dice: &mut Dice, class: &str, object: &str) -> String {
    let wanted = dice.size(3_000.0, 12_000.0, 200_000);
    let mut source = format!("@IsTest\nprivate class {class}Test {{\n");
    let mut n = 0;
    while n == 0 || source.len() < wanted {
        n += 1;
        let rows = dice.below(190) + 10;
        let _ = write!(
            source,
            "    @IsTest\n    static void {}{}{n}() {{\n        List<{object}> rows = new List<{object}>();\n        \
             for (Integer i = 0; i < {rows}; i++) {{\n            rows.add(new {object}(Name = 'Row ' + i));\n        \
             }}\n        insert rows;\n        Assert.areEqual({rows}, rows.size());\n        Assert.areEqual(200, \
             {class}.most());\n    }}\n\n",
            dice.pick(&VERBS),
            dice.pick(&THINGS)
        );
    }
    source.push_str("}\n");
    source
}

/// A trigger that hands over to nothing: it checks names.
pub fn trigger(name: &str, object: &str) -> String {
    format!(
        "trigger {name} on {object} (before insert, before update) {{\n    for ({object} row : Trigger.new) {{\n        \
         if (String.isBlank(row.Name)) {{\n            row.addError('A name is needed.');\n        }}\n    }}\n}}\n"
    )
}
