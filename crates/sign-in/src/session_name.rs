//! The name a person has in AWS.

use sha2::{Digest, Sha256};

const LONGEST: usize = 64;
const MARK: usize = 8;

/// The RoleSessionName of a person: `[\w+=,.@-]{2,64}`. Grants name it, so no two people may share one: a subject that does
/// not fit as it is keeps what fits and gets a mark made from all of it.
#[must_use]
pub fn session_name(subject: &str) -> String {
    if (2..=LONGEST).contains(&subject.len()) && subject.chars().all(fits) {
        return subject.to_owned();
    }
    let mark = hex::encode(Sha256::digest(subject));
    let kept = subject.chars().map(|c| if fits(c) { c } else { '-' }).take(LONGEST - MARK - 1);
    kept.chain(['-']).chain(mark.chars().take(MARK)).collect()
}

fn fits(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_as_it_is() {
        for subject in ["ana@acme.dev", "a+b=c,d.e_f@x-y.z", "ab"] {
            assert_eq!(session_name(subject), subject);
        }
    }

    #[test]
    fn every_other_subject_becomes_a_name_aws_accepts() {
        for subject in ["", "a", "auth0|5f7c8ec7", "zoë@acme.dev", "a*", "?", "ana smith", &"x".repeat(300)] {
            let name = session_name(subject);
            assert!((2..=64).contains(&name.len()) && name.chars().all(fits), "{subject:?} became {name:?}");
        }
    }

    #[test]
    fn subjects_that_look_alike_keep_different_names() {
        assert_ne!(session_name("ana|x"), session_name("ana/x"));
        assert_ne!(session_name("ana|x"), session_name("ana-x"));
        assert_ne!(session_name(&"x".repeat(65)), session_name(&"x".repeat(66)));
    }
}
