//! Request ids without a source of chance: a xoshiro256** generator started from the caller's seed.

use model::RequestId;

#[derive(Clone, Debug)]
pub(crate) struct SeededIds {
    state: [u64; 4],
}

impl SeededIds {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        // The all-zero state is the generator's one fixed point.
        if state == [0; 4] {
            state[0] = 0x9e37_79b9_7f4a_7c15;
        }
        let mut ids = Self { state };
        for _ in 0..16 {
            ids.next_word();
        }
        ids
    }

    /// A UUID of version 4.
    pub(crate) fn next_id(&mut self) -> RequestId {
        let bits = (u128::from(self.next_word()) << 64) | u128::from(self.next_word());
        let bits = bits & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let mut text = String::with_capacity(36);
        for (at, digit) in hex.chars().enumerate() {
            if [8, 12, 16, 20].contains(&at) {
                text.push('-');
            }
            text.push(digit);
        }
        RequestId::new(text).expect("32 hexadecimal digits in groups of 8-4-4-4-12 are a UUID")
    }

    fn next_word(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let word = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        word
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_uuids_of_version_4_and_repeat_only_with_their_seed() {
        let ids = |seed: [u8; 32]| {
            let mut source = SeededIds::new(seed);
            (0..500).map(|_| source.next_id().to_string()).collect::<BTreeSet<_>>()
        };
        let (zero, one) = (ids([0; 32]), ids([1; 32]));
        assert_eq!(zero, ids([0; 32]), "the same seed gives the same ids");
        assert_eq!((zero.len(), zero.intersection(&one).count()), (500, 0), "500 ids each, none in common");
        for id in zero.union(&one) {
            assert_eq!(id.get(14..15), Some("4"), "{id} says its version");
            assert!(["8", "9", "a", "b"].contains(&id.get(19..20).expect("36 characters")), "{id} says its variant");
        }
    }
}
