//! Cancelling a query: a connection of its own that carries the key of another one.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use db_proto::postgres::CancelKey;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{super::Shared, target};
use crate::route::Demand;

/// For a cancel request to be delivered.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys of the sessions that are open. Only these are passed on.
#[derive(Default)]
pub(super) struct Cancels(Arc<Mutex<HashSet<CancelKey>>>);

/// A key that counts until this is dropped.
pub(super) struct Kept {
    key: CancelKey,
    all: Arc<Mutex<HashSet<CancelKey>>>,
}

impl Cancels {
    pub(super) fn keep(&self, key: CancelKey) -> Kept {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Kept { key, all: Arc::clone(&self.0) }
    }

    /// Passes a cancel request on over a stream of its own, and returns once the server has closed that. Who asks is not told
    /// what came of it, as the protocol has no answer.
    pub(super) async fn pass_on(&self, shared: &Shared, key: &CancelKey) {
        if !self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(key) {
            tracing::debug!(process_id = key.process_id, "a cancel request with a key that is not ours");
            return;
        }
        match timeout(PATIENCE, deliver(shared, key)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error, "a cancel request could not be delivered"),
            Err(_) => tracing::warn!("a cancel request took too long to be delivered"),
        }
    }
}

async fn deliver(shared: &Shared, key: &CancelKey) -> Result<(), String> {
    let stream = shared.upstream.connect(Demand::Interactive).await.map_err(|error| error.to_string())?;
    let mut stream = target::encrypted(shared, stream).await.map_err(|why| why.message)?;
    stream.write_all(&key.cancel_request()).await.map_err(|error| error.to_string())?;
    stream.flush().await.map_err(|error| error.to_string())?;
    // The server closes without a word; that it does so without closing TLS first is no fault.
    drop(stream.read(&mut [0]).await);
    Ok(())
}

impl Kept {
    pub(super) fn key(&self) -> &CancelKey {
        &self.key
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
