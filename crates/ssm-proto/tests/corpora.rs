//! Plays what fuzzing has found worth keeping.

#[expect(unreachable_pub, reason = "the fuzz targets are a crate of their own")]
#[path = "../fuzz/src/lib.rs"]
mod exercises;

use std::{fs, path::Path};

#[test]
fn every_input_of_the_fuzzing_corpora_keeps_the_promises() {
    for (target, exercise) in [
        ("channel", exercises::channel as fn(&[u8])),
        ("frame", exercises::frame),
        ("handshake", exercises::handshake),
        ("smux", exercises::smux),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut inputs = 0;
        for entry in fs::read_dir(&folder).expect("the corpus is committed") {
            let input = fs::read(entry.expect("it can be listed").path()).expect("it can be read");
            exercise(&input);
            inputs += 1;
        }
        assert!(inputs > 5, "only {inputs} inputs for {target}");
    }
}
