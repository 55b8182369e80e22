//! Record ids and org addresses inside text, for Apex, flows and formulas alike.

/// Key prefixes of standard objects that turn up in code, and of setup records.
const PREFIXES: [&str; 58] = [
    "001", "002", "003", "005", "006", "00B", "00D", "00E", "00G", "00I", "00N", "00O", "00P", "00Q", "00S",
    "00T", "00U", "00X", "00e", "00h", "00k", "00l", "00m", "00v", "011", "012", "015", "01I", "01J", "01N",
    "01Z", "01a", "01p", "01q", "01s", "01t", "01u", "01Y", "01m", "02i", "02s", "033", "035", "066", "068",
    "069", "0D2", "0F9", "0PS", "301", "300", "500", "501", "701", "707", "708", "800", "801",
];

/// Every record id in a text, in order. A text of words never counts.
pub(super) fn record_ids(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| is_record_id(word)).collect()
}

/// 18 characters with the right checksum, or 15 with a known key prefix and the look of a counter.
fn is_record_id(word: &str) -> bool {
    let bytes = word.as_bytes();
    if !bytes.iter().all(u8::is_ascii_alphanumeric) || !(bytes.len() == 15 || bytes.len() == 18) {
        return false;
    }
    if bytes.len() == 18 {
        let digits = bytes[..15].iter().filter(|b| b.is_ascii_digit()).count();
        return checksum(&bytes[..15]) == bytes[15..] && digits >= 3 && known_prefix(word);
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let only_digits = digits == bytes.len();
    let has_lower_run = bytes.windows(6).any(|w| w.iter().all(u8::is_ascii_lowercase));
    known_prefix(word) && digits >= 5 && !has_lower_run && (!only_digits || word.contains("0000"))
}

/// Standard prefixes, and `a..` with a digit in second or third place, which custom objects get.
fn known_prefix(word: &str) -> bool {
    let prefix = &word[..3];
    let custom = matches!(prefix.as_bytes()[0], b'a'..=b'c' | b'e' | b'm')
        && prefix.as_bytes()[1..].iter().any(u8::is_ascii_digit);
    custom || PREFIXES.contains(&prefix)
}

/// The three characters that tell upper from lower case of each five.
fn checksum(id: &[u8]) -> [u8; 3] {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut sum = [0; 3];
    for (place, five) in sum.iter_mut().zip(id.chunks(5)) {
        let bits =
            five.iter().enumerate().map(|(n, b)| usize::from(b.is_ascii_uppercase()) << n).sum::<usize>();
        *place = ALPHABET[bits];
    }
    sum
}

/// Every host in a text that belongs to one org, in order.
pub(super) fn org_hosts(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
        .map(|host| host.trim_matches(['.', '-']))
        .filter(|host| is_org_host(host))
        .collect()
}

/// The sign-in hosts, which code that signs in names rightly.
pub(super) fn sign_in_hosts(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-')
        .filter(|host| {
            matches!(host.to_ascii_lowercase().as_str(), "login.salesforce.com" | "test.salesforce.com")
        })
        .collect()
}

fn is_org_host(host: &str) -> bool {
    const OF_AN_ORG: [&str; 6] = [
        ".my.salesforce.com",
        ".lightning.force.com",
        ".my.site.com",
        ".visualforce.com",
        ".force.com",
        ".cloudforce.com",
    ];
    const PUBLIC: [&str; 5] = ["appexchange", "developer", "help", "status", "trailhead"];
    let host = host.to_ascii_lowercase();
    let first = host.split('.').next().unwrap_or("");
    if first.is_empty() || PUBLIC.contains(&first) {
        return false;
    }
    let instance = host.strip_suffix(".salesforce.com").is_some_and(is_instance);
    instance || OF_AN_ORG.iter().any(|end| host.len() > end.len() && host.ends_with(end))
}

/// `na15`, `eu2`, `cs101`, `ap4`, `um1`, also behind a name of its own.
fn is_instance(name: &str) -> bool {
    let last = name.rsplit(['.', '-']).next().unwrap_or(name);
    let letters = last.trim_end_matches(|c: char| c.is_ascii_digit());
    letters.len() < last.len() && matches!(letters, "ap" | "cs" | "eu" | "na" | "um" | "usa")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_18_characters_need_the_right_checksum() {
        assert_eq!(record_ids("0015g00000AbCdEAAA"), Vec::<&str>::new());
        let sum = checksum(b"0015g00000AbCdE");
        let id = format!("0015g00000AbCdE{}", std::str::from_utf8(&sum).unwrap());
        assert_eq!(record_ids(&id), [id.as_str()]);
        assert_eq!(record_ids("001000000000001AAA"), ["001000000000001AAA"]);
    }

    #[test]
    fn ids_of_15_characters_need_a_known_prefix_and_digits() {
        for id in
            ["0015g00000AbCdE", "00530000001aBcD", "a0B5g00000XyZab", "012000000000ABC", "001000000000001"]
        {
            assert_eq!(record_ids(id), [id], "{id}");
        }
    }

    #[test]
    fn words_and_numbers_of_15_characters_are_no_ids() {
        for word in [
            "Phase01Approval",
            "AccountServices",
            "500123456789012",
            "abcdefghijklmno",
            "a1bcdefghijklmn",
            "00Dabcdefghijkl",
            "configuration12",
            "InternationalizationX",
        ] {
            assert_eq!(record_ids(word), Vec::<&str>::new(), "{word}");
        }
    }

    #[test]
    fn ids_inside_queries_and_addresses_are_found_each() {
        let text = "SELECT Id FROM Account WHERE OwnerId = '00530000001aBcD' OR Id = '0015g00000AbCdE'";
        assert_eq!(record_ids(text), ["00530000001aBcD", "0015g00000AbCdE"]);
    }

    #[test]
    fn only_addresses_of_one_org_count() {
        for host in [
            "https://acme.my.salesforce.com/001",
            "acme--uat.sandbox.lightning.force.com",
            "https://na15.salesforce.com/x",
            "c.cs101.visual.force.com",
        ] {
            assert_eq!(org_hosts(host).len(), 1, "{host}");
        }
        for text in [
            "https://help.salesforce.com/articles",
            "https://developer.salesforce.com/docs",
            ".my.salesforce.com",
            "https://www.salesforce.com",
            "https://trailhead.salesforce.com",
            "https://example.com",
        ] {
            assert_eq!(org_hosts(text).len(), 0, "{text}");
        }
    }
}
