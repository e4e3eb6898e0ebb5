//! Picks the role: a CLI verb, the master, or the launcher.

fn main() {}
