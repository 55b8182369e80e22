//! The program itself, as it ships: what is typed, uploaded and asked stands in no byte of its log, of its temporary
//! folder or of its data.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::multipart::{Form, Part};

use crate::harness::{Client, PASSWORD, Server};
use crate::knowledge::{says, upload};
use crate::unreadable_disk::holding;

/// Words that go in through every input, none of them a part of another.
const WORDS: [&str; 8] = [
    "qzheading",
    "qzfilename",
    "qzquestion",
    "qzsearched",
    "qztokenname",
    "qzprofile",
    "qzwrongpassword",
    "qzforeignkey",
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_people_say_stands_in_logs_temporary_files_or_data() {
    let (server, _) = Server::ready().await;
    let (dir, _) = server.stop().await;
    let (temporary, log) = (dir.path().join("tmp"), dir.path().join("server.log"));
    std::fs::create_dir(&temporary).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut served = Command::new(env!("CARGO_BIN_EXE_vynos"))
        .args(["serve", "--behind-proxy", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--external-url", &format!("http://localhost:{port}"), "--data-dir"])
        .arg(dir.path().join("data"))
        .arg("--master-key-file")
        .arg(dir.path().join("master.key"))
        .env("TMPDIR", &temporary)
        .env("VYNOS_LOG", "vynos=trace,actix_web=debug,info")
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(served.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("ready "), "{line} {}", std::fs::read_to_string(&log).unwrap());
    let base = line.split_whitespace().nth(1).unwrap().trim_end_matches('/').to_owned();
    let ada = Client::new(base);
    ada.sign_in("qzforeignkey@halden.example", "qzwrongpassword").await;
    assert_eq!(ada.sign_in("ada@halden.example", PASSWORD).await.status, 303);
    ada.post("/account/profile", &[("name", "qzprofile"), ("theme", "dark")]).await;
    ada.post("/w/halden-energy/tokens", &[("name", "qztokenname"), ("scope", "read"), ("days", "30")]).await;
    let text = b"# The qzheading\n\nWords of the document.\n";
    assert_eq!(
        upload(&ada, &[("qzfilename.md", text), ("qzfilename.pdf", b"%PDF-1.4 qzheading")]).await.status,
        303
    );
    says(&ada, "badge ok").await;
    ada.get("/w/halden-energy/knowledge?q=qzsearched").await;
    let asked = ada.post("/w/halden-energy/chat", &[("text", "What is qzquestion?"), ("org", "")]).await;
    assert_eq!(asked.status, 303, "{}", asked.body);
    let broken = Form::new().part("qzforeignkey", Part::bytes(b"x".to_vec()).file_name("qzfilename.txt"));
    ada.send(ada.request("POST", "/w/halden-energy/knowledge").multipart(broken)).await;
    ada.get("/w/qzforeignkey/knowledge?q=qzsearched").await;
    Command::new("kill").args(["-TERM", &served.id().to_string()]).status().unwrap();
    for _ in 0..600 {
        if served.try_wait().unwrap().is_some() {
            break;
        }
        tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>()).await.ok();
    }
    assert!(served.try_wait().unwrap().is_some_and(|status| status.success()), "it ends when it is told to");
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.contains("/w/{workspace}/knowledge"), "requests are logged by their route: {lines}");
    for word in WORDS {
        assert_eq!(holding(dir.path(), word), Vec::<String>::new(), "{word} stands in clear");
    }
    std::fs::write(temporary.join("control-file"), WORDS.join(" ")).unwrap();
    for word in WORDS {
        assert_eq!(holding(dir.path(), word).len(), 1, "the search itself must find {word}");
    }
}
