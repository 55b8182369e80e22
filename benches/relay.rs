//! Streamed answers: how long a byte of the model takes to the person, against a bare relay that hands bytes on. The
//! upstream writes into each piece when it was sent; the client looks at its clock when it has come.

use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actix_web::{App as ActixApp, HttpResponse, HttpServer, web};
use futures_util::StreamExt as _;
use serde_json::json;

use super::serving::{Prepared, client, prepare, resident, serve};

const STREAMS: usize = 50;
const FEW: usize = 4;
const PIECES: usize = 120;
const PACE: Duration = Duration::from_millis(25);

pub fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let began = Instant::now();
    let upstream = upstream(began, &runtime);
    let prepared = runtime.block_on(prepare(Some(&upstream)));
    let (served, _) = serve(prepared.dir.path(), &runtime);
    // As many before, a few at a time, so that neither what is made at the first answer nor the pages of the data file
    // that so many conversations fill are counted as a stream's.
    for _ in 0..STREAMS / FEW {
        let warm = runtime.block_on(ours(&served.url, &prepared, began, FEW));
        assert!(!warm.is_empty());
    }
    let (mut times, grown) =
        runtime.block_on(watched(served.child.id(), ours(&served.url, &prepared, began, STREAMS)));
    let relay = Relay::start(&upstream);
    for _ in 0..STREAMS / FEW {
        assert!(!runtime.block_on(plain(&relay.url, began, FEW)).is_empty());
    }
    let (mut bare, bare_grown) =
        runtime.block_on(watched(relay.child.id(), plain(&relay.url, began, STREAMS)));
    let (mine, theirs) = (p99(&mut times), p99(&mut bare));
    println!(
        "relay: {STREAMS} answers of {PIECES} pieces, upstream to client p99 {mine:.2} ms (p50 {:.2}), bare relay {theirs:.2} ms (p50 {:.2}), ratio {:.2} (at most 2); {grown:.0} KB resident a stream (under 64), bare relay {bare_grown:.0}",
        times[times.len() / 2],
        bare[bare.len() / 2],
        mine / theirs
    );
}

/// What a load brought, and by how many kilobytes a stream the process grew under it at most, above the few that were
/// there before.
async fn watched(process: u32, load: impl Future<Output = Vec<f64>>) -> (Vec<f64>, f64) {
    let before = resident(process);
    let peak = Mutex::new(before);
    let watch = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = resident(process);
            let mut peak = peak.lock().unwrap();
            *peak = peak.max(now);
        }
    };
    let times = tokio::select! {
        times = load => times,
        () = watch => Vec::new(),
    };
    let grown = (*peak.lock().unwrap() - before).max(0.0) * 1024.0 / (STREAMS - FEW) as f64;
    (times, grown)
}

/// Asks so many at once through the bare relay.
async fn plain(url: &str, began: Instant, streams: usize) -> Vec<f64> {
    let asks = (0..streams).map(|_| async move {
        let answer = client().post(url).body("{}").send().await.unwrap();
        arrivals(answer, began).await
    });
    futures_util::future::join_all(asks).await.concat()
}

fn p99(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

/// Asks so many questions at once through the product; the milliseconds of every piece.
async fn ours(url: &str, prepared: &Prepared, began: Instant, streams: usize) -> Vec<f64> {
    let asks = (0..streams).map(|_| {
        let (url, token) = (url.to_owned(), prepared.chat.clone());
        async move {
            let (client, base) = (client(), format!("{url}/api/v1/conversations"));
            let begun = client.post(&base).bearer_auth(&token).body("{}").send().await.unwrap();
            let begun: serde_json::Value = begun.json().await.unwrap();
            let id = begun["id"].as_str().unwrap();
            let answer = client
                .post(format!("{base}/{id}/messages"))
                .bearer_auth(&token)
                .header("accept", "text/event-stream")
                .body(json!({ "text": "How are you?" }).to_string())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            arrivals(answer, began).await
        }
    });
    futures_util::future::join_all(asks).await.concat()
}

/// How long each `t=<nanoseconds>;` of a stream took to come, in milliseconds.
async fn arrivals(answer: reqwest::Response, began: Instant) -> Vec<f64> {
    let (mut times, mut held) = (Vec::new(), String::new());
    let mut stream = answer.bytes_stream();
    while let Some(bytes) = stream.next().await {
        let now = began.elapsed().as_nanos() as f64;
        held.push_str(&String::from_utf8_lossy(&bytes.unwrap()));
        while let Some(from) = held.find("t=") {
            let Some(to) = held[from..].find(';') else { break };
            if let Ok(sent) = held[from + 2..from + to].parse::<f64>() {
                times.push((now - sent) / 1e6);
            }
            held.drain(..=from + to);
        }
    }
    times
}

/// A model that says when it says.
fn upstream(began: Instant, runtime: &tokio::runtime::Runtime) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = HttpServer::new(move || {
        ActixApp::new().default_service(web::to(move || async move {
            let events = futures_util::stream::unfold(0usize, move |n| async move {
                let event = |kind: &str, data: serde_json::Value| format!("event: {kind}\ndata: {data}\n\n");
                let text = match n {
                    0 => {
                        let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                            "stop_reason": null, "usage": { "input_tokens": 9, "output_tokens": 1 } });
                        let block = json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } });
                        event("message_start", json!({ "type": "message_start", "message": message })) + &event("content_block_start", block)
                    }
                    n if n <= PIECES => {
                        tokio::time::sleep(PACE).await;
                        let text = format!("t={};", began.elapsed().as_nanos());
                        event("content_block_delta", json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }))
                    }
                    n if n == PIECES + 1 => {
                        event("content_block_stop", json!({ "type": "content_block_stop", "index": 0 }))
                            + &event("message_delta", json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 99 } }))
                            + &event("message_stop", json!({ "type": "message_stop" }))
                    }
                    _ => return None,
                };
                Some((Ok::<_, std::io::Error>(web::Bytes::from(text)), n + 1))
            });
            HttpResponse::Ok().content_type("text/event-stream").streaming(events)
        }))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .unwrap();
    let _inside = runtime.enter();
    runtime.spawn(server.run());
    url
}

struct Relay {
    child: Child,
    url: String,
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Relay {
    fn start(upstream: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(["bare-relay", upstream, &port.to_string()]).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Self { child, url: format!("http://127.0.0.1:{port}/") }
    }
}

/// The baseline: hands the upstream's bytes on as they come, in a process of its own.
pub fn bare(upstream: &str, port: u16) {
    let upstream = upstream.to_owned();
    let server = HttpServer::new(move || {
        let (upstream, client) = (upstream.clone(), client());
        ActixApp::new().default_service(web::to(move || {
            let (upstream, client) = (upstream.clone(), client.clone());
            async move {
                let answer = client.post(format!("{upstream}/v1/messages")).body("{}").send().await.unwrap();
                let bytes = answer.bytes_stream().map(|piece| piece.map_err(std::io::Error::other));
                HttpResponse::Ok().content_type("text/event-stream").streaming(bytes)
            }
        }))
    });
    actix_web::rt::System::new().block_on(server.bind(("127.0.0.1", port)).unwrap().run()).unwrap();
}
