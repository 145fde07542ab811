//! daypass

fn main() {}
