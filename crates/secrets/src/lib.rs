//! Values that redact themselves, and where they are kept.
