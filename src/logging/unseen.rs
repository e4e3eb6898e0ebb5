//! Characters that are not seen and change how others are.

/// Whether `char` is a format character or a separator of lines (Unicode's categories Cf, Zl and Zp): it takes no
/// room and reorders, joins or hides what stands around it. U+202E makes "gpj.exe" of "exe.jpg".
#[must_use]
pub fn is_unseen(char: char) -> bool {
    // UnicodeData.txt of Unicode 16.
    const RANGES: [(char, char); 21] = [
        ('\u{ad}', '\u{ad}'),
        ('\u{600}', '\u{605}'),
        ('\u{61c}', '\u{61c}'),
        ('\u{6dd}', '\u{6dd}'),
        ('\u{70f}', '\u{70f}'),
        ('\u{890}', '\u{891}'),
        ('\u{8e2}', '\u{8e2}'),
        ('\u{180e}', '\u{180e}'),
        ('\u{200b}', '\u{200f}'),
        ('\u{2028}', '\u{202e}'),
        ('\u{2060}', '\u{2064}'),
        ('\u{2066}', '\u{206f}'),
        ('\u{feff}', '\u{feff}'),
        ('\u{fff9}', '\u{fffb}'),
        ('\u{110bd}', '\u{110bd}'),
        ('\u{110cd}', '\u{110cd}'),
        ('\u{13430}', '\u{1343f}'),
        ('\u{1bca0}', '\u{1bca3}'),
        ('\u{1d173}', '\u{1d17a}'),
        ('\u{e0001}', '\u{e0001}'),
        ('\u{e0020}', '\u{e007f}'),
    ];
    !char.is_ascii()
        && RANGES
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&char))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reorders_or_hides_is_known_and_letters_of_all_scripts_are_not_it() {
        for char in "\u{202e}\u{202a}\u{2066}\u{2069}\u{200b}\u{200f}\u{feff}\u{ad}\u{2028}".chars()
        {
            assert!(is_unseen(char), "{}", char.escape_unicode());
        }
        for char in "az ~é中עع😀e\u{301}\n\u{e000}".chars() {
            assert!(!is_unseen(char), "{}", char.escape_unicode());
        }
    }
}
