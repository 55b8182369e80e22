//! Verifying an audit chain of a million lines, against one pass of SHA-256 over the same bytes.

use ring::digest;
use vynos::clock::{Clock, Random};
use vynos::ids::{AccountId, RequestId, WorkspaceId};
use vynos::seal::{DataKey, Use};
use vynos::store::audit::verify::Walk;
use vynos::store::audit::{AUDIT, Action, Actor, Entry, append};
use vynos::store::{File, Read as _, StoreError};

use super::timed;

const LINES: u64 = 1_000_000;
const IN_ONE: u64 = 10_000;
/// Memory for cached pages, as a workspace has it.
const CACHE: usize = 2 << 20;

pub fn measure() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataKey::new();
    let (pages, key) = (data.sub(Use::Pages), data.sub(Use::Audit));
    let file = File::create(&dir.path().join("a.redb"), &pages, CACHE).unwrap();
    let (clock, random) = (Clock::manual("2026-11-23T09:00:00Z".parse().unwrap()), Random::system());
    let account = AccountId::new(&clock, &random);
    let workspace = WorkspaceId::new(&clock, &random);
    let ((), filled) = timed(|| {
        for first in (0..LINES).step_by(IN_ONE as usize) {
            file.write(|tx| {
                for _ in first..first + IN_ONE {
                    let request = RequestId::new(&clock, &random);
                    let entry = Entry {
                        at: clock.now(),
                        actor: Actor::Account { id: account },
                        action: Action::QuestionAsked,
                        target: request.to_string(),
                        workspace: Some(workspace),
                        request: Some(request),
                    };
                    append(tx, &key, entry)?;
                }
                Ok::<_, StoreError>(())
            })
            .unwrap();
        }
    });
    let mut bytes = 0;
    file.snapshot()
        .unwrap()
        .raw_scan(
            AUDIT.name,
            (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded),
            false,
            &mut |_, line| {
                bytes += line.len();
                Ok(true)
            },
        )
        .unwrap();
    let (mut all, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (holds, took) = timed(|| {
            let walk = Walk::begin(&file.snapshot().unwrap(), &key).unwrap();
            walk.finish(|| file.snapshot(), |_, _| {}).unwrap().unwrap()
        });
        assert_eq!(holds.lines(), LINES);
        all.push(took.as_secs_f64());
        bare.push(timed(|| hash(bytes)).1.as_secs_f64());
    }
    let (took, alone) = (middle(all), middle(bare));
    println!(
        "audit: {LINES} lines of {} bytes written in {:.1} s ({:.0} lines/s)",
        bytes / LINES as usize,
        filled.as_secs_f64(),
        LINES as f64 / filled.as_secs_f64()
    );
    println!(
        "audit: verified in {took:.2} s ({:.0} lines/s), SHA-256 alone {alone:.2} s, ratio {:.2}",
        LINES as f64 / took,
        took / alone
    );
}

/// One pass over as many bytes.
fn hash(bytes: usize) {
    let piece = vec![b'x'; 1 << 20];
    let mut context = digest::Context::new(&digest::SHA256);
    for _ in 0..bytes / piece.len() {
        context.update(&piece);
    }
    context.update(&piece[..bytes % piece.len()]);
    assert_ne!(context.finish().as_ref(), [0; 32]);
}

fn middle(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}
