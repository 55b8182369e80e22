//! What browsers say of themselves, in the words people use for them.

/// "Firefox on Linux".
pub(super) fn device(user_agent: &str) -> String {
    format!("{}{}", browser(user_agent), system(user_agent))
}

fn browser(user_agent: &str) -> &'static str {
    // In this order: the later ones' names stand in the earlier ones' texts too.
    let known = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ];
    known.into_iter().find(|(mark, _)| user_agent.contains(mark)).map_or("A browser", |(_, name)| name)
}

/// The system as the end of a name: " on Linux", or nothing.
pub(super) fn system(user_agent: &str) -> &'static str {
    let known = [
        ("iPhone", " on iPhone"),
        ("iPad", " on iPad"),
        ("Android", " on Android"),
        ("Windows", " on Windows"),
        ("Macintosh", " on macOS"),
        ("CrOS", " on ChromeOS"),
        ("Linux", " on Linux"),
    ];
    known.into_iter().find(|(mark, _)| user_agent.contains(mark)).map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_name_them() {
        let edge = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0";
        let phone =
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1";
        assert_eq!(device(edge), "Edge on Windows");
        assert_eq!(device(phone), "Safari on iPhone");
        assert_eq!(device(""), "A browser");
    }
}
