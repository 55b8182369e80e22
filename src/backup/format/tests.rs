//! Members and rows come back as written; whatever was cut or changed is told.

use super::*;

fn written(rows: &[(&str, &[u8], &[u8])], blob: &[u8]) -> Vec<u8> {
    let mut out = MembersOut::new(Vec::new());
    out.begin(&Member::Control {}).unwrap();
    let mut to = RowsOut::new(&mut out);
    for (table, key, value) in rows {
        to.row(table, key, value).unwrap();
    }
    to.finish().unwrap();
    out.end().unwrap();
    out.begin(&Member::Key { place: "control".into() }).unwrap();
    out.write_all(blob).unwrap();
    out.end().unwrap();
    out.finish().unwrap()
}

type Rows = Vec<(String, Vec<u8>, Vec<u8>)>;

fn read(bytes: &[u8]) -> io::Result<(Rows, Vec<u8>)> {
    let (mut all, mut blob, mut from) = (Vec::new(), Vec::new(), MembersIn::new(bytes));
    while let Some(member) = from.advance()? {
        match member {
            Member::Control {} => {
                let mut rows = RowsIn::new(&mut from);
                while rows.advance()? {
                    all.push((rows.table.clone(), rows.key.clone(), rows.value.clone()));
                }
            }
            _ => drop(from.read_to_end(&mut blob)?),
        }
    }
    Ok((all, blob))
}

#[test]
fn what_was_written_comes_back_and_every_cut_and_every_flipped_bit_is_told() {
    let rows: [(&str, &[u8], &[u8]); 3] = [("a", b"k", b"v"), ("a", b"", b""), ("b", b"k", b"w")];
    let bytes = written(&rows, b"blob");
    let back = read(&bytes).unwrap();
    let rows = rows.map(|(table, key, value)| (table.to_owned(), key.to_vec(), value.to_vec()));
    assert_eq!(back, (rows.to_vec(), b"blob".to_vec()));
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for place in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[place / 8] ^= 1 << (place % 8);
        assert!(read(&flipped).is_err(), "bit {place}");
    }
}

#[test]
fn a_member_longer_than_a_block_and_an_empty_one_come_back() {
    for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
        let blob = vec![7; length];
        assert_eq!(read(&written(&[], &blob)).unwrap().1, blob);
    }
}
