//! Picks the role: a verb of the command line, the master, or the launcher.

use std::io::Write as _;
use std::process::ExitCode;

use handover::cli::{self, RunArgs};
use handover::master::{self, Early, Start};
use handover::process;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == process::ROLE)
    {
        process::launcher_main();
    }
    cli::main(run_master)
}

fn run_master(arguments: RunArgs) -> ExitCode {
    // No thread exists yet: what the environment holds can be taken safely.
    match Early::take() {
        Ok(early) => {
            let start = Start {
                sources: arguments.sources,
                runtime_dir: arguments.runtime_dir,
                state_dir: arguments.state_dir,
            };
            master::run(early, start)
        }
        Err(error) => {
            // Nobody may be there to read it.
            drop(writeln!(std::io::stderr(), "error: {error}"));
            ExitCode::FAILURE
        }
    }
}
