//! What the window is told without asking.

use model::{Snapshot, TargetId};
use serde::{Deserialize, Serialize};

/// Something changed; this is what is true.
#[derive(Clone, Debug, Deserialize, Serialize, specta::Type, tauri_specta::Event)]
pub(crate) struct SnapshotChanged(pub(crate) Snapshot);

/// The person wants to see this Target.
#[derive(Clone, Debug, Deserialize, Serialize, specta::Type, tauri_specta::Event)]
pub(crate) struct TargetShown(pub(crate) TargetId);
