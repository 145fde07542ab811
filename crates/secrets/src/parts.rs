//! A value spread over keychain items, since Windows takes at most 2,560 bytes an item.
//!
//! The head item, named like the key, holds `[LAYOUT, slot, number of further parts]` and the first bytes; the further parts
//! are `KEY/SLOT/1`, `KEY/SLOT/2`… A save writes its parts into the slot that is not in use and the head last, so that a
//! process that ends halfway leaves the old value whole.

use zeroize::Zeroizing;

use crate::{Secret, StoreError};

/// CRED_MAX_CREDENTIAL_BLOB_SIZE is 2,560; the rest is room for the head.
const PART: usize = 2_500;
/// The largest value.
const LIMIT: usize = 64 * 1024;
const LAYOUT: u8 = 1;

/// Items of a keychain, by name.
pub(crate) trait Items {
    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Nothing there is fine.
    fn remove(&self, name: &str) -> Result<(), StoreError>;
}

pub(crate) fn load(items: &impl Items, key: &str) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
    let Some(head) = items.read(key)? else { return Ok(None) };
    let (in_use, first) = Layout::parse(key, &head)?;
    let mut value = Zeroizing::new(Vec::with_capacity(PART * (1 + usize::from(in_use.further))));
    value.extend_from_slice(first);
    for number in 1..=in_use.further {
        let name = part_name(key, in_use.slot, number);
        let part = items.read(&name)?.ok_or_else(|| damaged(key, format!("`{name}` is missing")))?;
        value.extend_from_slice(&part);
    }
    Ok(Some(Secret::new(std::mem::take(&mut *value))))
}

pub(crate) fn save(items: &impl Items, key: &str, value: &Secret<Vec<u8>>) -> Result<(), StoreError> {
    let value = value.expose();
    if value.len() > LIMIT {
        return Err(StoreError::TooLarge { key: key.to_owned(), length: value.len(), limit: LIMIT });
    }
    let old = items.read(key)?.and_then(|head| Layout::parse(key, &head).ok().map(|(layout, _)| layout));
    let slot = u8::from(old.is_some_and(|old| old.slot == 0));
    let (first, rest) = value.split_at(value.len().min(PART));
    let mut further = 0;
    for part in rest.chunks(PART) {
        further += 1;
        items.write(&part_name(key, slot, further), part)?;
    }
    let mut head = Zeroizing::new(vec![LAYOUT, slot, further]);
    head.extend_from_slice(first);
    items.write(key, &head)?;
    old.map_or(Ok(()), |old| remove_parts(items, key, old))
}

pub(crate) fn forget(items: &impl Items, key: &str) -> Result<(), StoreError> {
    let old = items.read(key)?.and_then(|head| Layout::parse(key, &head).ok().map(|(layout, _)| layout));
    items.remove(key)?;
    old.map_or(Ok(()), |old| remove_parts(items, key, old))
}

fn remove_parts(items: &impl Items, key: &str, old: Layout) -> Result<(), StoreError> {
    (1..=old.further).try_for_each(|number| items.remove(&part_name(key, old.slot, number)))
}

#[derive(Clone, Copy)]
struct Layout {
    slot: u8,
    further: u8,
}

impl Layout {
    fn parse<'a>(key: &str, head: &'a [u8]) -> Result<(Self, &'a [u8]), StoreError> {
        match head {
            [LAYOUT, slot, further, first @ ..] => Ok((Self { slot: *slot, further: *further }, first)),
            _ => Err(damaged(key, "it was not written by this version of Daypass".into())),
        }
    }
}

fn part_name(key: &str, slot: u8, number: u8) -> String {
    format!("{key}/{slot}/{number}")
}

fn damaged(key: &str, cause: String) -> StoreError {
    StoreError::Damaged { key: key.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Default)]
    struct Credentials {
        items: RefCell<BTreeMap<String, Vec<u8>>>,
        writes_left: Cell<Option<u32>>,
    }

    impl Items for Credentials {
        fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            Ok(self.items.borrow().get(name).cloned().map(Zeroizing::new))
        }
        fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            assert!(bytes.len() <= 2_560, "Windows refuses {} bytes", bytes.len());
            match self.writes_left.get() {
                Some(0) => return Err(StoreError::TimedOut { key: name.into(), seconds: 1 }),
                Some(left) => self.writes_left.set(Some(left - 1)),
                None => {}
            }
            self.items.borrow_mut().insert(name.into(), bytes.into());
            Ok(())
        }
        fn remove(&self, name: &str) -> Result<(), StoreError> {
            self.items.borrow_mut().remove(name);
            Ok(())
        }
    }

    fn value(length: usize) -> Secret<Vec<u8>> {
        Secret::new((0..length).map(|at| u8::try_from(at % 251).expect("251 fits")).collect())
    }

    #[test]
    fn any_size_up_to_the_limit_reads_back() {
        let items = Credentials::default();
        for length in [0, 1, PART, PART + 1, 2 * PART, 9_000, LIMIT, 3] {
            save(&items, "token", &value(length)).expect("it fits");
            assert_eq!(load(&items, "token"), Ok(Some(value(length))), "{length} bytes");
        }
        assert_eq!(items.items.borrow().len(), 1, "parts of earlier values are removed");
        forget(&items, "token").expect("removable");
        assert_eq!(load(&items, "token"), Ok(None));
    }

    #[test]
    fn a_value_beyond_the_limit_is_refused_and_the_old_one_stays() {
        let items = Credentials::default();
        save(&items, "token", &value(10)).expect("it fits");
        assert!(matches!(save(&items, "token", &value(LIMIT + 1)), Err(StoreError::TooLarge { .. })));
        assert_eq!(load(&items, "token"), Ok(Some(value(10))));
    }

    #[test]
    fn a_save_cut_short_leaves_the_old_value_whole() {
        for done in 0..3 {
            let items = Credentials::default();
            save(&items, "token", &value(6_000)).expect("it fits");
            items.writes_left.set(Some(done));
            save(&items, "token", &value(7_000)).expect_err("the keychain stopped answering");
            assert_eq!(load(&items, "token"), Ok(Some(value(6_000))), "after {done} of 3 writes");
        }
    }

    #[test]
    fn a_missing_part_and_a_foreign_item_are_damage() {
        let items = Credentials::default();
        save(&items, "token", &value(6_000)).expect("it fits");
        items.items.borrow_mut().remove("token/0/2");
        assert!(matches!(load(&items, "token"), Err(StoreError::Damaged { .. })));
        items.items.borrow_mut().insert("other".into(), b"x".to_vec());
        assert!(matches!(load(&items, "other"), Err(StoreError::Damaged { .. })));
    }
}
