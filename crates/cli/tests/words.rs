//! What `daypass` says before it asks anybody.

use std::process::{Command, Stdio};

fn daypass(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_daypass"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("it was built");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_lists_every_verb_and_the_exit_codes() {
    let (code, out, _) = daypass(&["--help"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out);
}

#[test]
fn a_malformed_name_is_refused_with_what_a_name_looks_like() {
    let (code, _, err) = daypass(&["connect", "Orders Prod"]);
    assert_eq!(code, Some(2), "wrong usage has its own exit code");
    assert!(err.contains("`Orders Prod` is not a database name: 1 to 63 lower-case letters"), "{err}");
}

#[test]
fn a_malformed_duration_is_refused_with_how_to_write_one() {
    let (code, _, err) = daypass(&["request", "orders-prod", "--for", "an hour", "--reason", "x"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("`an hour` is not a duration: write it like 30m"), "{err}");
}
