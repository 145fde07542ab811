//! Message and request ids from the caller's seed.

/// xoshiro256**: the ids only have to differ, nobody has to be unable to guess them.
#[derive(Debug)]
pub(crate) struct Ids {
    state: [u64; 4],
}

impl Ids {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let mut state = [0x9e37_79b9_7f4a_7c15; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word ^= u64::from_le_bytes(*bytes);
        }
        if state == [0; 4] {
            state[0] = 1;
        }
        Self { state }
    }

    /// A version 4 UUID in RFC order.
    pub(crate) fn uuid(&mut self) -> [u8; 16] {
        let random = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().into_bytes()
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }
}
