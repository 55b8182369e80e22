//! The operator's commands, through the socket of a running server and on the data of a stopped one.

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vynos::store::audit::{AUDIT, Action, Actor};
use vynos::store::{Read as _, StoreError};

use crate::harness::{PASSWORD, Server};

pub async fn vynos(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vynos"));
    command.args(words).arg("--data-dir").arg(home.join("data"));
    command.arg("--master-key-file").arg(home.join("master.key"));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn line(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_link_of_the_operator_works_at_a_running_server_and_is_audited() {
    let (server, _ada) = Server::ready().await;
    let made = line(&vynos(server.dir.path(), &["user", "reset", "ada@halden.example", "--json"]).await);
    let link = made["link"].as_str().unwrap();
    let path = link.strip_prefix(&server.base).expect("a link of this server");
    let visitor = server.client();
    assert_eq!(visitor.post(path, &[("password", "seven quiet lanterns")]).await.status, 303);
    assert_eq!(visitor.sign_in("ada@halden.example", PASSWORD).await.status, 422);
    assert_eq!(visitor.sign_in("ada@halden.example", "seven quiet lanterns").await.status, 303);
    let lines = server.app().web.control.read().unwrap().scan(&AUDIT).rows().unwrap();
    let told = lines.iter().find(|(_, line)| line.action == Action::AccountResetByOperator).unwrap();
    assert_eq!(told.1.actor, Actor::Operator);
    let unknown = vynos(server.dir.path(), &["user", "reset", "nobody@halden.example"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("nothing was changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_commands_work_on_a_stopped_instance() {
    let (server, _ada) = Server::ready().await;
    let running = line(&vynos(server.dir.path(), &["audit", "verify", "--json"]).await);
    let (dir, clock) = server.stop().await;
    assert!(!dir.path().join("data/control.sock").exists());
    let stopped = line(&vynos(dir.path(), &["audit", "verify", "--json"]).await);
    assert_eq!(running, stopped);
    assert_eq!(stopped["chains"].as_array().unwrap().len(), 2);
    let made = vynos(dir.path(), &["user", "reset", "ada@halden.example"]).await;
    let text = String::from_utf8(made.stdout).unwrap();
    let path = text.split_whitespace().find_map(|word| word.split_once("/reset/")).unwrap().1.to_owned();
    // The command runs on the clock of the machine, the server of a test on its own.
    clock.advance(vynos::clock::Clock::system().now().duration_since(clock.now()));
    let server = Server::on(dir, clock).await;
    assert_eq!(server.client().get(&format!("/reset/{path}")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_broken_link_is_named_with_chain_line_and_time() {
    let (server, _ada) = Server::ready().await;
    let id = crate::members::workspace(&server);
    let ws = server.app().web.door.for_runner(id).unwrap();
    for n in 0..5 {
        ws.change(Action::OrgSynced, n, |_| Ok::<_, StoreError>(())).await.unwrap();
    }
    ws.note(|tx| {
        let mut line = tx.get(&AUDIT, &3)?.unwrap();
        line.target = "forged".into();
        tx.put(&AUDIT, &3, &line)
    })
    .await
    .unwrap();
    drop(ws);
    let named = format!("workspace {id}: the audit chain is broken at line 3, of 2026-11-23T09:00:00Z");
    let is_named = |output: Output| {
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&named) && said.contains(" of 5 audit lines"), "{said}");
        output.stdout
    };
    let said = is_named(vynos(server.dir.path(), &["audit", "verify"]).await);
    assert!(String::from_utf8(said).unwrap().starts_with("control: audit chain of "));
    let running = is_named(vynos(server.dir.path(), &["audit", "verify", "--json"]).await);
    let (dir, _) = server.stop().await;
    let stopped = is_named(vynos(dir.path(), &["audit", "verify", "--json"]).await);
    assert_eq!(running, stopped, "the server and the files alone say the same");
    let chains: Value = serde_json::from_slice(&stopped).unwrap();
    assert_eq!(chains["chains"][1]["lines"], 3);
    assert_eq!(chains["chains"][1]["broken_at"], "2026-11-23T09:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_the_owners_alone_and_answers_a_closed_list() {
    let (server, _ada) = Server::ready().await;
    let data = server.dir.path().join("data");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("control.sock"))), (0o700, 0o600));
    let ask = |text: &'static str| {
        let path = data.join("control.sock");
        tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            let mut line = String::new();
            std::io::BufReader::new(stream).read_line(&mut line).unwrap();
            line
        })
    };
    for odd in
        ["\n", "{}\n", "[1]\n", "{\"command\":\"shell\"}\n", "{\"command\":\"audit_verify\",\"x\":1}\n"]
    {
        assert!(ask(odd).await.unwrap().contains("\"failed\""), "{odd}");
    }
    assert!(ask("{\"command\":\"audit_verify\"}\n").await.unwrap().contains("\"audit\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_a_killed_server_left_is_replaced() {
    let (server, _ada) = Server::ready().await;
    let (dir, clock) = server.stop().await;
    let path = dir.path().join("data/control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    // Nobody listens there, so the command works on the data itself.
    assert_eq!(vynos(dir.path(), &["audit", "verify"]).await.status.code(), Some(0));
    let server = Server::on(dir, clock).await;
    assert_eq!(vynos(server.dir.path(), &["audit", "verify"]).await.status.code(), Some(0));
}
