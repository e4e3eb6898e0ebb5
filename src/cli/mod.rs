//! The command line: one file a verb.
//!
//! This room knows arguments, the terminal and the words that people read. It
//! speaks to a master only through [`crate::control::client`], as any other
//! program could; how a master works inside it must not know. `run` hands its
//! arguments to whoever starts a master: the room above.

mod abort;
mod arguments;
mod check;
mod completions;
mod config;
mod duration;
mod events;
mod exit;
mod failure;
mod history;
mod interrupt;
mod logs;
mod man;
mod meant;
mod number;
mod operation;
mod outcome;
mod progress;
mod promote;
mod reload;
mod rollback;
mod run;
mod scale;
mod status;
mod stop;
mod table;
mod target;
mod terminal;
mod text;
mod upgrade;
mod waiting;

use std::ffi::OsString;
use std::process::ExitCode;

pub use arguments::command;
use arguments::{Parsed, Verb, parse};
pub use exit::Exit;
use failure::Failure;
pub use run::RunArgs;
use terminal::Terminal;

/// Does what the process's arguments say; `run_master` is called for `run`.
///
/// No thread may exist yet: a waiting verb blocks signals to read them.
pub fn main(run_master: fn(RunArgs) -> ExitCode) -> ExitCode {
    main_with(std::env::args_os(), run_master)
}

fn main_with(
    arguments: impl IntoIterator<Item = OsString>,
    run_master: fn(RunArgs) -> ExitCode,
) -> ExitCode {
    let mut terminal = Terminal::of_this_process();
    let verb = match parse(arguments) {
        Parsed::Verb(verb) => verb,
        Parsed::Clap(error, hint) => {
            // A closed pipe under `--help | head` is nobody's fault.
            let _ = error.print();
            if let Some(hint) = hint {
                let _ = terminal.tell(&hint);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
        Parsed::Later(message) => {
            return Failure::usage(message).report(&mut terminal, false).into();
        }
    };
    let verb = match *verb {
        Verb::Run(arguments) => return run_master(arguments.into_run_args()),
        other => other,
    };
    let json = verb.json();
    let done = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(verb.carry_out(&mut terminal)),
        Err(error) => Err(Failure::new(
            Exit::Failed,
            format_args!("no event loop: {error}"),
        )),
    };
    let exit = match done.and_then(|exit| terminal.flush().map(|()| exit).map_err(Failure::from)) {
        Ok(exit) => exit,
        Err(failure) => failure.report(&mut terminal, json),
    };
    exit.into()
}

impl Verb {
    fn json(&self) -> bool {
        match self {
            Self::Run(_) => false,
            Self::Upgrade(verb) => verb.target.json,
            Self::Promote(verb) => verb.target.json,
            Self::Abort(verb) => verb.target.json,
            Self::Rollback(verb) => verb.target.json,
            Self::Reload(verb) => verb.target.json,
            Self::Scale(verb) => verb.target.json,
            Self::Stop(verb) => verb.target.json,
            Self::Status(verb) => verb.target.json,
            Self::History(verb) => verb.target.json,
            Self::Events(verb) => verb.target.json,
            Self::Logs(verb) => verb.target.json,
            Self::Config(verb) => verb.target.json,
            Self::Check(verb) => verb.json,
            Self::Completions(_) | Self::Man(_) => false,
        }
    }

    async fn carry_out(self, terminal: &mut Terminal) -> Result<Exit, Failure> {
        match self {
            // The room above has done it.
            Self::Run(_) => Ok(Exit::Done),
            Self::Upgrade(verb) => verb.carry_out(terminal).await,
            Self::Promote(verb) => verb.carry_out(terminal).await,
            Self::Abort(verb) => verb.carry_out(terminal).await,
            Self::Rollback(verb) => verb.carry_out(terminal).await,
            Self::Reload(verb) => verb.carry_out(terminal).await,
            Self::Scale(verb) => verb.carry_out(terminal).await,
            Self::Stop(verb) => verb.carry_out(terminal).await,
            Self::Status(verb) => verb.carry_out(terminal).await,
            Self::History(verb) => verb.carry_out(terminal).await,
            Self::Events(verb) => verb.carry_out(terminal).await,
            Self::Logs(verb) => verb.carry_out(terminal).await,
            Self::Config(verb) => verb.carry_out(terminal).await,
            Self::Check(verb) => verb.carry_out(terminal),
            Self::Completions(verb) => verb.carry_out(terminal),
            Self::Man(verb) => verb.carry_out(terminal),
        }
    }
}

#[cfg(test)]
mod tests;
