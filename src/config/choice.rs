//! A key that takes one of a few words.

/// Declares an enum whose variants are the words of a key, with `NAMES`, `FromStr`, `Display`.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// Every word, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($word),+];

            /// The word in a config.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $( $word => Ok(Self::$variant), )+ _ => Err(()) }
            }
        }

        impl $crate::config::field::Field for $name {
            fn read(
                item: &$crate::config::raw::Item,
                _: &$crate::config::kind::Kind,
            ) -> Result<Self, $crate::config::raw::Wrong> {
                let word = $crate::config::field::choose(item, Self::NAMES)?;
                Ok(match word { $( $word => Self::$variant, )+ _ => unreachable!("`choose` returns one of NAMES") })
            }
            fn write(&self, _: &$crate::config::kind::Kind) -> Option<String> {
                Some($crate::config::raw::quote(self.as_str()))
            }
        }
    };
}
pub(crate) use choice;
