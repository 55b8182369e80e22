//! The export of a workspace of 1 GB: how long it takes, and the most memory that the process had meanwhile.

use std::io::Write as _;
use std::sync::Arc;

use vynos::bundle::pack_workspace;
use vynos::chat::records::{CONVERSATIONS, Conversation, MESSAGES, Message};
use vynos::clock::{Clock, Random};
use vynos::identity::Control;
use vynos::identity::control::Note;
use vynos::ids::{ConversationId, DocumentId, JobId, MessageId, TurnId, WorkspaceId};
use vynos::knowledge::records::{DOCUMENTS, Document, Status};
use vynos::seal::{MasterKey, Secret};
use vynos::store::StoreError;
use vynos::store::audit::{Action, Actor};
use vynos::workspace::{Building, DataDir, Door, Pool};

use super::timed;

/// Documents of 10 MB each, and messages of 2 KB.
const DOCUMENTS_OF: (usize, usize) = (90, 10 << 20);
const MESSAGES_OF: (usize, usize) = (50_000, 2 << 10);

pub fn measure() {
    let dir = tempfile::tempdir().unwrap();
    MasterKey::create(&dir.path().join("master.key")).unwrap();
    let master = MasterKey::load(&dir.path().join("master.key")).unwrap();
    let data = Arc::new(DataDir::open_or_create(&dir.path().join("data"), master).unwrap());
    let (clock, random) = (Clock::system(), Random::system());
    let control = data.control(clock.clone(), random.clone()).unwrap();
    let pool = Arc::new(Pool::new(data, clock.clone(), random.clone()));
    let door = Door::new(control.clone(), Arc::clone(&pool));
    let secret = Secret::new("copper kettle morning".into());
    let new = Control::prepare_account("ada@halden.example", "Ada", &secret, true).unwrap();
    let id = WorkspaceId::new(&clock, &random);
    let building = Building::begin(&pool, id, Actor::Operator).unwrap();
    let note = Note::new(Actor::Operator, Action::WorkspaceCreated, id);
    let owner = control
        .change_now(note, |tx| {
            let owner = control.insert_account(tx, new)?;
            control.insert_workspace(tx, id, "Large", owner).map(|_| owner)
        })
        .unwrap();
    let mut piece = vec![0u8; DOCUMENTS_OF.1];
    for n in 0..DOCUMENTS_OF.0 {
        for chunk in piece.chunks_mut(32) {
            chunk.copy_from_slice(&random.bytes::<32>()[..chunk.len()]);
        }
        let mut blob = building.workspace().blobs().create().unwrap();
        blob.write_all(&piece).unwrap();
        let document = Document {
            name: format!("document {n}.pdf"),
            bytes: piece.len() as u64,
            content: random.bytes(),
            blob: blob.finish().unwrap(),
            status: Status::Ready,
            job: JobId::from_bytes([0; 16]),
            kind: "pdf".into(),
            title: None,
            language: None,
            pages: 0,
            passages: 0,
            warnings: Vec::new(),
            error: None,
            uploaded: clock.now(),
            uploaded_by: Some(owner),
            collection: None,
        };
        let id = DocumentId::new(&clock, &random);
        building.write::<_, StoreError>(|tx| tx.put(&DOCUMENTS, &id, &document)).unwrap();
    }
    let conversation = ConversationId::new(&clock, &random);
    for _ in 0..MESSAGES_OF.0 / 1_000 {
        building
            .write::<_, StoreError>(|tx| {
                let row = Conversation {
                    title: "Large".into(),
                    org: None,
                    owner,
                    created: clock.now(),
                    updated: clock.now(),
                    pinned: false,
                };
                tx.put(&CONVERSATIONS, &conversation, &row)?;
                for _ in 0..1_000 {
                    let text = "Renewals run nightly. ".repeat(MESSAGES_OF.1 / 22);
                    let message = Message::question(TurnId::new(&clock, &random), clock.now(), text);
                    tx.put(&MESSAGES, &(conversation, MessageId::new(&clock, &random)), &message)?;
                }
                Ok(())
            })
            .unwrap();
    }
    building.finish().unwrap();
    drop(piece);
    let ws = door.for_runner(id).unwrap();
    let before = begin_peak();
    let mut blob = ws.blobs().create().unwrap();
    let ((), took) =
        timed(|| pack_workspace(&control, &ws, clock.now(), &mut blob, &mut |_, _| Ok(())).unwrap());
    let bundle = blob.finish().unwrap();
    let bytes = ws.blobs().open(&bundle).unwrap().len();
    println!(
        "export of 1 GB: {:.1} s, bundle {} MB, memory {} MB before and {} MB at most",
        took.as_secs_f64(),
        bytes >> 20,
        before >> 10,
        status("VmHWM") >> 10
    );
}

/// Forgets the most memory so far; answers what there is now, in KB.
fn begin_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    status("VmRSS")
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
