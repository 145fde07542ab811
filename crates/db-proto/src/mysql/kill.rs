//! `KILL`, which names a session by its thread id.
//!
//! The greeting tells a client its thread id before the client has proven itself, and so before there is a session upstream.
//! It therefore gets an id of the gateway's own, and where it sends one of those back in a `KILL`, the id of the session
//! upstream takes its place. `SELECT CONNECTION_ID()` and the process list show the ids upstream, which pass unchanged.

use super::packet::Fields;

pub(super) const COM_QUERY: u8 = 0x03;
pub(super) const COM_PROCESS_KILL: u8 = 0x0C;

/// The payload to send instead of `payload`, if it is a `KILL` of a session that `thread` knows.
pub(super) fn rewrite(payload: &[u8], has_attributes: bool, thread: &dyn Fn(u32) -> Option<u32>) -> Option<Vec<u8>> {
    let mut fields = Fields::of(payload);
    match fields.u8()? {
        COM_PROCESS_KILL => {
            let id = thread(fields.u32()?)?;
            Some([&[COM_PROCESS_KILL], id.to_le_bytes().as_slice()].concat())
        }
        COM_QUERY => {
            // A count of attributes, and of sets of them (always one). Nobody gives a KILL attributes.
            if has_attributes && (fields.integer()? != 0 || fields.integer()? != 1) {
                return None;
            }
            let statement = fields.rest();
            let (before, id, after) = target(str::from_utf8(statement).ok()?)?;
            let id = thread(id)?.to_string();
            let head = payload.get(..payload.len() - statement.len())?;
            Some([head, before.as_bytes(), id.as_bytes(), after.as_bytes()].concat())
        }
        _ => None,
    }
}

/// `KILL [HARD | SOFT] [CONNECTION | QUERY] id`: what stands before the id, the id, and what stands behind it.
fn target(statement: &str) -> Option<(&str, u32, &str)> {
    let mut rest = keyword(blank(statement), "KILL")?;
    rest = keyword(rest, "HARD").or_else(|| keyword(rest, "SOFT")).unwrap_or(rest);
    rest = keyword(rest, "CONNECTION").or_else(|| keyword(rest, "QUERY")).unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, after) = rest.split_at_checked(digits)?;
    let before = statement.get(..statement.len() - rest.len())?;
    let end = blank(after);
    let ends = end.is_empty() || blank(end.strip_prefix(';')?).is_empty();
    ends.then_some((before, id.parse().ok()?, after))
}

/// What follows `word` and the space behind it.
fn keyword<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    let after = blank(rest);
    (head.eq_ignore_ascii_case(word) && after.len() < rest.len()).then_some(after)
}

/// Without the white space and plain comments in front.
fn blank(text: &str) -> &str {
    let text = text.trim_ascii_start();
    let comment = text.strip_prefix("/*").filter(|inside| !inside.starts_with(['!', '+', 'M']));
    match comment.and_then(|inside| inside.split_once("*/")) {
        Some((_, rest)) => blank(rest),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(statement: &str) -> Option<String> {
        let payload = [&[COM_QUERY], statement.as_bytes()].concat();
        let out = rewrite(&payload, false, &|id| (id == 7).then_some(4_000_000_000))?;
        Some(String::from_utf8(out.get(1..)?.to_vec()).expect("made of text"))
    }

    #[test]
    fn a_kill_of_a_local_session_names_the_one_upstream() {
        for (statement, wanted) in [
            ("KILL 7", "KILL 4000000000"),
            ("kill query 7", "kill query 4000000000"),
            ("KILL QUERY 7;", "KILL QUERY 4000000000;"),
            (" /* cancel */ Kill\tCONNECTION /* it */ 7 ; ", " /* cancel */ Kill\tCONNECTION /* it */ 4000000000 ; "),
            ("KILL HARD QUERY 7", "KILL HARD QUERY 4000000000"),
        ] {
            assert_eq!(rewritten(statement).as_deref(), Some(wanted), "{statement}");
        }
    }

    #[test]
    fn every_other_statement_stays_as_it_is() {
        for statement in [
            "KILL 8",
            "KILL QUERY ID 7",
            "KILL USER bob",
            "KILL 7 OR 1",
            "KILL",
            "KILL 7; SELECT 1",
            "KILL 99999999999",
            "KILLS 7",
            "SELECT 7",
            "",
            "/*",
        ] {
            assert_eq!(rewritten(statement), None, "{statement}");
        }
    }

    #[test]
    fn attributes_before_the_statement_and_the_old_command_are_understood() {
        let thread = |id| (id == 7).then_some(258);
        let payload = [&[COM_QUERY, 0, 1], b"KILL 7".as_slice()].concat();
        let wanted = [&[COM_QUERY, 0, 1], b"KILL 258".as_slice()].concat();
        assert_eq!(rewrite(&payload, true, &thread), Some(wanted));
        assert_eq!(rewrite(&[COM_PROCESS_KILL, 7, 0, 0, 0], true, &thread), Some(vec![COM_PROCESS_KILL, 2, 1, 0, 0]));
        assert_eq!(rewrite(&[COM_PROCESS_KILL, 7, 0], true, &thread), None);
    }
}
