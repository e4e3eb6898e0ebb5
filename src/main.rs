//! Picks the role: a CLI verb, the master, or the launcher.

fn main() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|role| role == "__launch")
    {
        handover::process::launcher_main();
    }
}
