//! Text from elsewhere, made fit for a terminal.

use crate::logging::is_unseen;

/// `text` without what could steer a terminal: escape sequences are taken out
/// (most are colours), other control characters are shown as `�`, and those that reorder or hide
/// others as `\u{202e}`. A worker's output must not be able to type into root's shell.
pub(super) fn clean(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match char {
            '\u{1b}' => skip_escape(&mut rest),
            '\n' | '\t' => result.push(char),
            // C1 controls are escape sequences of one character.
            _ if char.is_control() => result.push('\u{fffd}'),
            _ if is_unseen(char) => result.extend(char.escape_unicode()),
            _ => result.push(char),
        }
    }
    result
}

/// Takes the rest of an escape sequence (ECMA-48): `[ … @-~` is CSI, `] … BEL`
/// is OSC, anything else has one character.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|char| ('@'..='~').contains(char));
        }
        Some(']' | 'P' | '^' | '_' | 'X') => {
            while let Some(char) = rest.next() {
                match char {
                    '\u{7}' => return,
                    '\u{1b}' => {
                        rest.next();
                        return;
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// `text` cut to `columns`, with an ellipsis where something is missing.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// `text` broken between words so that no line is wider than `columns`; what follows the first line is indented.
/// What is one word stays one, as it may be something to type.
pub(super) fn wrap(text: &str, columns: usize) -> String {
    const INDENT: &str = "    ";
    let mut result = String::with_capacity(text.len());
    for (n, line) in text.lines().enumerate() {
        if n > 0 {
            result.push('\n');
        }
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            // Colours take no room.
            let word_alone = clean(word);
            let wide = width(word_alone.trim_end());
            if used > INDENT.len() && used + wide > columns {
                result.truncate(result.trim_end_matches(' ').len());
                result.push('\n');
                result.push_str(INDENT);
                used = INDENT.len();
            }
            result.push_str(word);
            used += width(&word_alone);
        }
    }
    result
}

/// Columns that `text` takes. Characters of two columns count as one: what
/// stands in a table here is names, paths and numbers.
pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

/// `words` as a shell would take them.
pub(super) fn shell(words: &[String]) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "_-+=./:,@%{}".contains(char);
    let quote = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_taken_out() {
        for (dirty, cleaned) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "x"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}P$q\u{1b}\\x", "x"),
            ("\u{1b}cx", "x"),
            ("a\rb\u{8}c\u{0}", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("\u{9b}31mx", "\u{fffd}31mx"),
            ("cut \u{1b}[", "cut "),
            ("\u{1b}", ""),
            ("v\u{202e}2", "v\\u{202e}2"),
            ("a\u{200b}\u{2028}b", "a\\u{200b}\\u{2028}b"),
        ] {
            assert_eq!(clean(dirty), cleaned);
        }
    }

    #[test]
    fn text_is_cut_to_fit() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("äöüß", 3), "äö…");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrap("a short line", 20), "a short line");
        assert_eq!(
            wrap("one two three four", 10),
            "one two\n    three\n    four"
        );
        assert_eq!(wrap("    x y", 80), "    x y");
        assert_eq!(
            wrap("a_word_wider_than_all b", 8),
            "a_word_wider_than_all\n    b"
        );
        assert_eq!(wrap("one\ntwo", 3), "one\ntwo");
        let coloured = "\u{1b}[1mone\u{1b}[0m two";
        assert_eq!(wrap(coloured, 7), coloured);
    }

    #[test]
    fn commands_are_quoted_as_a_shell_needs() {
        let words = ["./run", "--port={port}", "it's", "", "a b"].map(str::to_owned);
        assert_eq!(shell(&words), "./run --port={port} 'it'\\''s' '' 'a b'");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_survives(text in any::<String>()) {
            let cleaned = clean(&text);
            prop_assert!(!cleaned.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        }
    }
}
