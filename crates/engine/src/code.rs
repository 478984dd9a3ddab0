//! Enums that are spoken and stored: one list gives each its word and its number.
//!
//! A word is what people read (status, events, plans, messages); a number is what images, boards and recordings hold.
//! Both come from the same line of source, so neither can drift from the other.

/// Declares a field-less enum with a stored number and a spoken word for each variant.
///
/// Gives `ALL`, `code()`, `from_code()`, `word()`, `from_word()`, and `Display` as the word.
macro_rules! coded_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$vmeta:meta])* $variant:ident = $code:literal, $word:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        $vis enum $name {
            $( $(#[$vmeta])* $variant = $code, )*
        }

        impl $name {
            /// Every value, in the order of their declaration.
            #[allow(dead_code, reason = "not every enum is walked")]
            $vis const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The number it is stored as.
            $vis const fn code(self) -> u8 {
                self as u8
            }

            /// The value stored as `code`, if there is one.
            $vis const fn from_code(code: u8) -> Option<$name> {
                match code {
                    $( $code => Some($name::$variant), )*
                    _ => None,
                }
            }

            /// The word people read for it.
            $vis const fn word(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )*
                }
            }

            /// The value that `word` names, if there is one.
            #[allow(dead_code, reason = "not every enum is read from words")]
            $vis fn from_word(word: &str) -> Option<$name> {
                match word {
                    $( $word => Some($name::$variant), )*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

pub(crate) use coded_enum;
