//! The one task that owns Access: effects, persistence, snapshots.
