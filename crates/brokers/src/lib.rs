//! Who grants access: an SSM runbook, or nobody.
