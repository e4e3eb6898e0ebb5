//! Where words go: standard output, standard error, and how they may look.

use std::ffi::OsStr;
use std::io::{self, BufWriter, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;

use super::text::wrap;
use crate::process::pollable;

/// Columns where nobody says how many there are.
const COLUMNS: usize = 80;

/// The two streams of a command.
pub(super) struct Terminal {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    out_paint: Paint,
    err_paint: Paint,
    /// Whether a line on standard output may be overwritten.
    pub(super) out_is_live: bool,
    /// Whether a line on standard error may be overwritten.
    pub(super) err_is_live: bool,
    /// The width of the terminal.
    pub(super) columns: usize,
}

impl Terminal {
    pub(super) fn of_this_process() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == OsStr::new("dumb"));
        let live = |tty: bool| tty && !dumb;
        let (out_is_live, err_is_live) = (live(out.is_terminal()), live(err.is_terminal()));
        let columns = rustix::termios::tcgetwinsize(&err)
            .or_else(|_| rustix::termios::tcgetwinsize(&out))
            .map(|size| usize::from(size.ws_col))
            .ok()
            .filter(|columns| *columns > 0)
            .unwrap_or(COLUMNS);
        Self {
            out: Box::new(BufWriter::new(out)),
            err: Box::new(err),
            out_paint: Paint(out_is_live && !plain),
            err_paint: Paint(err_is_live && !plain),
            out_is_live,
            err_is_live,
            columns,
        }
    }

    /// A line (or several) on standard output: what was asked for.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Text on standard output as it is, at once.
    pub(super) fn say_raw(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// A line (or several) on standard error: what was not asked for.
    pub(super) fn tell(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        writeln!(self.err, "{text}")
    }

    /// Text on standard error as it is, at once.
    pub(super) fn tell_raw(&mut self, text: &str) -> io::Result<()> {
        self.err.write_all(text.as_bytes())?;
        self.err.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The width that standard output has; without bound where it is no terminal.
    pub(super) fn out_columns(&self) -> usize {
        match self.out_is_live {
            true => self.columns,
            false => usize::MAX,
        }
    }

    /// `text` for standard error: broken at the terminal's width, elsewhere as it is.
    pub(super) fn fold(&self, text: &str) -> String {
        match self.err_is_live {
            true => wrap(text, self.columns),
            false => text.to_owned(),
        }
    }

    pub(super) fn out_paint(&self) -> Paint {
        self.out_paint
    }

    pub(super) fn err_paint(&self) -> Paint {
        self.err_paint
    }
}

/// What a piece of text is about; how that looks is decided here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// Headings, names.
    Strong,
    /// What one reads only when looking for it.
    Dim,
    Good,
    Warn,
    Bad,
}

/// Whether text may be coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        let style = match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().bold(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Warn => colour(AnsiColor::Yellow),
            Tone::Bad => colour(AnsiColor::Red).bold(),
        };
        if self.0 && !text.is_empty() && tone != Tone::Plain {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Whoever read our output has gone (`handover logs --follow | head`): the kernel says so without anything being
/// written.
pub(super) fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    poll(&mut watched, Some(&Timespec::default())).is_ok() && watched[0].revents().intersects(gone)
}

/// Ends when whoever read our output has gone; never where that cannot be seen (a file has no reader).
pub(super) async fn reader_gone() {
    let Ok(stdout) = pollable(io::stdout()) else {
        return std::future::pending().await;
    };
    while !reader_is_gone() {
        match stdout.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_) => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
pub(super) mod fake {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// What was written to one stream.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Rc<RefCell<Vec<u8>>>);

    impl Written {
        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&self.0.borrow()).into_owned()
        }
    }

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Two files, and what was written to them.
    pub(crate) fn files() -> (Terminal, Written, Written) {
        let (out, err) = (Written::default(), Written::default());
        let terminal = Terminal {
            out: Box::new(out.clone()),
            err: Box::new(err.clone()),
            out_paint: Paint(false),
            err_paint: Paint(false),
            out_is_live: false,
            err_is_live: false,
            columns: 80,
        };
        (terminal, out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_may_be() {
        assert_eq!(Paint(false).tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Plain, "x"), "x");
        assert_eq!(Paint(true).tone(Tone::Good, ""), "");
        assert_eq!(Paint(true).tone(Tone::Good, "x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
