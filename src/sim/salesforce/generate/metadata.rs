//! Objects, flows, bundles and permission sets of generated orgs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Dice, FIRST, SECOND};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "xmlns=\"http://soap.sforce.com/2006/04/metadata\"";
const FIELDS: [(&str, &str); 7] = [
    ("Checkbox", "<defaultValue>false</defaultValue>"),
    ("Currency", "<precision>18</precision><scale>2</scale>"),
    ("Date", ""),
    ("DateTime", ""),
    ("LongTextArea", "<length>32768</length><visibleLines>3</visibleLines>"),
    ("Number", "<precision>18</precision><scale>0</scale>"),
    ("Text", "<length>80</length>"),
];

pub fn object(dice: &mut Dice, name: &str) -> String {
    let label = name.trim_end_matches("__c").replace('_', " ");
    let fields = dice.size(6.0, 23.0, 222);
    let mut text = format!(
        "{HEAD}<CustomObject {NAMESPACE}>\n    <deploymentStatus>Deployed</deploymentStatus>\n    \
         <enableReports>true</enableReports>\n"
    );
    for n in 0..fields {
        let (kind, more) = FIELDS[dice.below(FIELDS.len())];
        let word = dice.pick(&SECOND);
        let _ = write!(
            text,
            "    <fields>\n        <fullName>{word}_{n}__c</fullName>\n        <label>{word} {n}</label>\n        \
             {more}<required>false</required>\n        <type>{kind}</type>\n    </fields>\n"
        );
    }
    let _ = write!(
        text,
        "    <label>{label}</label>\n    <nameField>\n        <label>Name</label>\n        <type>Text</type>\n    \
         </nameField>\n    <pluralLabel>{label}</pluralLabel>\n    <sharingModel>Private</sharingModel>\n"
    );
    if dice.chance(10) {
        text.push_str(
            "    <validationRules>\n        <fullName>Name_Needed</fullName>\n        <active>true</active>\n        \
             <errorConditionFormula>ISBLANK(Name)</errorConditionFormula>\n        <errorMessage>A name is needed.\
             </errorMessage>\n    </validationRules>\n",
        );
    }
    text.push_str("</CustomObject>\n");
    text
}

/// A chain of assignments behind a start.
pub fn flow(dice: &mut Dice, name: &str, object: &str) -> String {
    let elements = dice.size(3.0, 11.0, 57);
    let label = name.replace('_', " ");
    let mut text = format!("{HEAD}<Flow {NAMESPACE}>\n    <apiVersion>64.0</apiVersion>\n");
    for n in 1..=elements {
        let connector = if n < elements {
            format!(
                "        <connector>\n            <targetReference>Step_{}</targetReference>\n        </connector>\n",
                n + 1
            )
        } else {
            String::new()
        };
        let (word, value) = (dice.pick(&FIRST), dice.below(1_000));
        let _ = write!(
            text,
            "    <assignments>\n        <description>Keeps the {word} count for the steps behind it.</description>\n        \
             <name>Step_{n}</name>\n        <label>Step {n}: {word}</label>\n        <locationX>176</locationX>\n        \
             <locationY>{}</locationY>\n        <assignmentItems>\n            \
             <assignToReference>Count</assignToReference>\n            <operator>Add</operator>\n            <value>\n                \
             <numberValue>{value}.0</numberValue>\n            </value>\n        </assignmentItems>\n{connector}    \
             </assignments>\n",
            160 + n * 120
        );
    }
    let triggered = dice.chance(60);
    let on = if triggered {
        format!(
            "        <object>{object}</object>\n        <recordTriggerType>CreateAndUpdate</recordTriggerType>\n        \
             <triggerType>RecordBeforeSave</triggerType>\n"
        )
    } else {
        String::new()
    };
    let status = if dice.chance(80) { "Active" } else { "Draft" };
    let _ = write!(
        text,
        "    <description>{label}, made for an org of this size.</description>\n    <environments>Default</environments>\n    \
         <interviewLabel>{label} {{!$Flow.CurrentDateTime}}</interviewLabel>\n    <label>{label}</label>\n    \
         <processType>AutoLaunchedFlow</processType>\n    <start>\n        <locationX>50</locationX>\n        \
         <locationY>0</locationY>\n        <connector>\n            <targetReference>Step_1</targetReference>\n        \
         </connector>\n{on}    </start>\n    <status>{status}</status>\n    <variables>\n        <name>Count</name>\n        \
         <dataType>Number</dataType>\n        <isCollection>false</isCollection>\n        <isInput>false</isInput>\n        \
         <isOutput>true</isOutput>\n        <scale>0</scale>\n    </variables>\n</Flow>\n"
    );
    text
}

/// A Lightning web component: script, template and description.
pub fn bundle(dice: &mut Dice, name: &str) -> BTreeMap<String, String> {
    let wanted = dice.size(3_000.0, 14_000.0, 120_000);
    let class: String = name[..1].to_uppercase() + &name[1..];
    let mut script = format!(
        "import {{ LightningElement, api }} from 'lwc';\n\nexport default class {class} extends LightningElement {{\n    \
         @api recordId;\n    rows = [];\n"
    );
    let mut n = 0;
    while script.len() < wanted {
        n += 1;
        let _ = write!(
            script,
            "\n    get {}{n}() {{\n        return this.rows.filter((row) => row.position > {n}).length;\n    }}\n",
            dice.pick(&SECOND).to_lowercase()
        );
    }
    script.push_str("}\n");
    let mut template = String::from("<template>\n");
    for n in 0..dice.below(30) + 3 {
        let _ = writeln!(template, "    <p class=\"row-{n}\">{}</p>", dice.pick(&SECOND));
    }
    template.push_str("</template>\n");
    let meta = format!(
        "{HEAD}<LightningComponentBundle {NAMESPACE}>\n    <apiVersion>64.0</apiVersion>\n    \
         <isExposed>true</isExposed>\n</LightningComponentBundle>\n"
    );
    BTreeMap::from([
        (format!("lwc/{name}/{name}.js"), script),
        (format!("lwc/{name}/{name}.html"), template),
        (format!("lwc/{name}/{name}.js-meta.xml"), meta),
    ])
}

pub fn permission_set(n: usize, object: &str) -> String {
    format!(
        "{HEAD}<PermissionSet {NAMESPACE}>\n    <hasActivationRequired>false</hasActivationRequired>\n    <label>Generated \
         {n}</label>\n    <objectPermissions>\n        <allowCreate>true</allowCreate>\n        \
         <allowDelete>false</allowDelete>\n        <allowEdit>true</allowEdit>\n        <allowRead>true</allowRead>\n        \
         <modifyAllRecords>false</modifyAllRecords>\n        <object>{object}</object>\n        \
         <viewAllRecords>false</viewAllRecords>\n    </objectPermissions>\n</PermissionSet>\n"
    )
}
