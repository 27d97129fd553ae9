//! Colours, as arguments ask for them. Never writes a code when the look has no colour.

use crate::render::Look;

/// What a stretch of text is, for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    Green,
    Cyan,
    Blue,
    Yellow,
    Red,
    Dim,
    Bold,
    BoldRed,
}

impl Tint {
    /// The colour of a sign of a plan.
    pub(crate) fn of_sign(sign: char) -> Self {
        match sign {
            '+' => Self::Green,
            '>' => Self::Cyan,
            '?' => Self::Blue,
            '~' => Self::Yellow,
            '-' => Self::Red,
            '!' => Self::BoldRed,
            _ => Self::Dim,
        }
    }
    fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Cyan => "36",
            Self::Blue => "34",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::BoldRed => "1;31",
        }
    }
}

impl Look {
    /// `text` in that tint, or as it is.
    pub(crate) fn paint(&self, tint: Tint, text: &str) -> String {
        if self.color && !text.is_empty() {
            format!("\x1b[{}m{text}\x1b[0m", tint.code())
        } else {
            text.to_owned()
        }
    }
}
