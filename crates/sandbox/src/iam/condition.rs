//! Condition operators. A key that is not there fails closed, except under `…IfExists`, `Null` and the negated ones.

use jiff::{Timestamp, civil, tz};

use super::policy::{Ask, OneOrMany, matches};

/// One operator of a condition block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Operator {
    test: Test,
    negated: bool,
    if_exists: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Test {
    ArnLike,
    Bool,
    DateEquals,
    DateGreaterThan,
    DateGreaterThanEquals,
    DateLessThan,
    DateLessThanEquals,
    Null,
    StringEquals,
    StringEqualsIgnoreCase,
    StringLike,
}

impl Operator {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (test, negated) = match name {
            "ArnLike" | "ArnEquals" => (Test::ArnLike, false),
            "ArnNotLike" | "ArnNotEquals" => (Test::ArnLike, true),
            "Bool" => (Test::Bool, false),
            "DateEquals" => (Test::DateEquals, false),
            "DateGreaterThan" => (Test::DateGreaterThan, false),
            "DateGreaterThanEquals" => (Test::DateGreaterThanEquals, false),
            "DateLessThan" => (Test::DateLessThan, false),
            "DateLessThanEquals" => (Test::DateLessThanEquals, false),
            "DateNotEquals" => (Test::DateEquals, true),
            "Null" => (Test::Null, false),
            "StringEquals" => (Test::StringEquals, false),
            "StringEqualsIgnoreCase" => (Test::StringEqualsIgnoreCase, false),
            "StringLike" => (Test::StringLike, false),
            "StringNotEquals" => (Test::StringEquals, true),
            "StringNotLike" => (Test::StringLike, true),
            _ => return None,
        };
        Some(Self { test, negated, if_exists })
    }
}

/// Whether one line of a condition block holds. Several values mean any of them; for a negated operator, none.
pub(super) fn holds(operator: &str, key: &str, values: &OneOrMany, ask: &Ask) -> bool {
    let Some(operator) = Operator::parse(operator) else { return false };
    let given = ask.key(key);
    if operator.test == Test::Null {
        return values.iter().any(|value| (value == "true") == given.is_none());
    }
    match given {
        None => operator.if_exists || operator.negated,
        Some(given) => {
            let mut wanted = values.iter().filter_map(|value| ask.substituted(value));
            wanted.any(|wanted| passes(operator.test, given, &wanted)) != operator.negated
        }
    }
}

fn passes(test: Test, given: &str, wanted: &str) -> bool {
    let dates = || Some((instant(given)?, instant(wanted)?));
    match test {
        Test::ArnLike => arn_like(given, wanted),
        Test::Bool | Test::StringEqualsIgnoreCase => given.eq_ignore_ascii_case(wanted),
        Test::DateEquals => dates().is_some_and(|(given, wanted)| given == wanted),
        Test::DateGreaterThan => dates().is_some_and(|(given, wanted)| given > wanted),
        Test::DateGreaterThanEquals => dates().is_some_and(|(given, wanted)| given >= wanted),
        Test::DateLessThan => dates().is_some_and(|(given, wanted)| given < wanted),
        Test::DateLessThanEquals => dates().is_some_and(|(given, wanted)| given <= wanted),
        Test::Null => false,
        Test::StringEquals => given == wanted,
        Test::StringLike => matches(wanted, given),
    }
}

/// Each of the six parts of an ARN is matched by itself, so that a wildcard does not reach into the next one.
fn arn_like(given: &str, wanted: &str) -> bool {
    let (given, wanted): (Vec<&str>, Vec<&str>) = (given.splitn(6, ':').collect(), wanted.splitn(6, ':').collect());
    given.len() == 6 && wanted.len() == 6 && given.iter().zip(&wanted).all(|(given, wanted)| matches(wanted, given))
}

/// RFC 3339, a date, or seconds since 1970: the forms IAM takes.
fn instant(text: &str) -> Option<Timestamp> {
    let day = || Some(text.parse::<civil::Date>().ok()?.to_zoned(tz::TimeZone::UTC).ok()?.timestamp());
    let seconds = || Timestamp::from_second(text.parse().ok()?).ok();
    text.parse().ok().or_else(seconds).or_else(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(operator: &str, given: Option<&str>, wanted: &str) -> bool {
        let ask = Ask::new("ssm:StartSession", "*");
        let ask = given.into_iter().fold(ask, |ask, given| ask.with("aws:Key", given));
        holds(operator, "AWS:KEY", &OneOrMany::One(wanted.into()), &ask)
    }

    #[test]
    fn each_operator_compares_as_iam_does() {
        let cases = [
            ("StringEquals", "a", "a", true),
            ("StringEquals", "A", "a", false),
            ("StringEqualsIgnoreCase", "A", "a", true),
            ("StringNotEquals", "a", "a", false),
            ("StringLike", "AROA1:ana", "*:ana", true),
            ("StringNotLike", "AROA1:ana", "*:ben", true),
            ("Bool", "true", "True", true),
            ("DateLessThan", "2026-11-22T09:00:00Z", "2026-11-22T09:00:01Z", true),
            ("DateLessThan", "2026-11-22T09:00:01Z", "2026-11-22T09:00:01Z", false),
            ("DateLessThanEquals", "2026-11-22T09:00:01Z", "2026-11-22T09:00:01Z", true),
            ("DateGreaterThan", "2026-11-22T10:00:00Z", "2026-11-22", true),
            ("DateGreaterThan", "not a date", "2026-11-22", false),
            ("ArnLike", "arn:aws:iam::1:role/JitRds", "arn:aws:iam::1:role/Jit*", true),
            ("ArnLike", "arn:aws:iam::1:role/JitRds", "arn:aws:*/JitRds", false),
        ];
        for (operator, given, wanted, expected) in cases {
            assert_eq!(line(operator, Some(given), wanted), expected, "{operator}: {given} against {wanted}");
        }
    }

    #[test]
    fn a_missing_key_fails_closed() {
        for operator in ["StringEquals", "StringLike", "DateLessThan", "DateGreaterThan", "Bool", "ArnLike"] {
            assert!(!line(operator, None, "true"), "{operator} must not hold without its key");
        }
        for operator in ["BoolIfExists", "StringEqualsIfExists", "StringNotEquals"] {
            assert!(line(operator, None, "true"), "{operator} holds without its key, as in AWS");
        }
        assert!(line("Null", None, "true"), "Null asks for the key to be missing");
        assert!(!line("Null", Some("x"), "true"));
    }

    #[test]
    fn an_operator_that_is_not_known_never_holds() {
        assert!(!line("StringProbablyEquals", Some("a"), "a"));
        assert!(Operator::parse("NumericEquals").is_none(), "a policy with it is refused when it is written");
    }
}
