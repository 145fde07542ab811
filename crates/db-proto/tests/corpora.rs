//! Plays what fuzzing has found worth keeping.

#[expect(unreachable_pub, reason = "the fuzz targets are a crate of their own")]
#[path = "../fuzz/src/mysql.rs"]
mod mysql;
#[expect(unreachable_pub, reason = "the fuzz targets are a crate of their own")]
#[path = "../fuzz/src/postgres.rs"]
mod postgres;

use std::{fs, path::Path};

/// Does something with any bytes, and panics when a promise is broken.
type Exercise = fn(&[u8]);

const TARGETS: [(&str, Exercise); 7] = [
    ("mysql_client", mysql::client),
    ("mysql_compression", mysql::compression),
    ("mysql_server", mysql::server),
    ("mysql_session", mysql::session),
    ("postgres_client", postgres::client),
    ("postgres_replies", postgres::replies),
    ("postgres_server", postgres::server),
];

#[test]
fn every_input_of_the_corpora_keeps_the_promises() {
    for (target, exercise) in TARGETS {
        let inputs = corpus(target);
        inputs.iter().for_each(|input| exercise(input));
        assert!(inputs.len() > 5, "only {} inputs for {target}", inputs.len());
    }
}

#[test]
fn ten_thousand_truncated_and_damaged_inputs_keep_them_too() {
    let mut count = 0;
    for (target, exercise) in TARGETS {
        for input in corpus(target) {
            for place in 0..input.len() {
                exercise(input.get(..place).expect("within"));
                for damage in [0xFF, 0x01, 0x80] {
                    let mut damaged = input.clone();
                    damaged[place] ^= damage;
                    exercise(&damaged);
                }
                count += 4;
            }
        }
    }
    assert!(count > 10_000, "only {count}");
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).expect("the corpus is committed");
    entries.map(|entry| fs::read(entry.expect("it can be listed").path()).expect("it can be read")).collect()
}
