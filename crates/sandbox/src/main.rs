//! daypass-sandbox

fn main() {}
