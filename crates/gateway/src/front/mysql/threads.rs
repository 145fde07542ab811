//! Thread ids: those that clients are given, and those of the sessions behind.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Ids that servers reach after a thousand million connections; clients that keep them in 32 bits with a sign still can.
const FIRST: u32 = 0x7000_0000;
const MOST: u32 = 0x0FFF_FFFF;

/// All ids in use at a Front.
///
/// A greeting names a thread id, and is sent before the client has proven who it is and so before there is a session upstream
/// whose id it could be. Each connection therefore gets an id from a range of its own, and a `KILL` that names one is sent on
/// with the id upstream.
#[derive(Clone, Debug)]
pub(crate) struct Threads(Arc<Mutex<Ids>>);

#[derive(Debug)]
struct Ids {
    next: u32,
    /// By local id; `None` until the session upstream is there.
    upstream: BTreeMap<u32, Option<u32>>,
}

impl Threads {
    /// Begins anywhere in the range, so that ids of another Front for the same Target are most likely others.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Ids { next: rand::random_range(0..MOST), upstream: BTreeMap::new() })))
    }

    /// A new id, which is given back when it is dropped.
    pub(crate) fn take(&self) -> Thread {
        let mut ids = self.lock();
        let id = loop {
            let id = FIRST + ids.next % MOST;
            ids.next = (ids.next + 1) % MOST;
            if let std::collections::btree_map::Entry::Vacant(free) = ids.upstream.entry(id) {
                free.insert(None);
                break id;
            }
        };
        drop(ids);
        Thread { id, threads: self.clone() }
    }

    /// The id upstream of the connection that has this local one.
    pub(crate) fn upstream(&self, local: u32) -> Option<u32> {
        self.lock().upstream.get(&local).copied().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's id.
#[derive(Debug)]
pub(crate) struct Thread {
    id: u32,
    threads: Threads,
}

impl Thread {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn is_upstream(&self, id: u32) {
        self.threads.lock().upstream.insert(self.id, Some(id));
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.threads.lock().upstream.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_upstream_as_long_as_its_connection_lives() {
        let threads = Threads::new();
        let (first, second) = (threads.take(), threads.take());
        assert_ne!(first.id(), second.id());
        assert_eq!(threads.upstream(first.id()), None, "nothing is upstream yet");
        first.is_upstream(9);
        assert_eq!(threads.upstream(first.id()), Some(9));
        assert_eq!(threads.upstream(9), None, "ids upstream are nobody's local ones");
        let id = first.id();
        drop(first);
        assert_eq!(threads.upstream(id), None);
        assert!(i32::try_from(id).is_ok(), "some clients keep it with a sign");
    }
}
