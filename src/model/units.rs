//! Units as people write them in plan files: periods, sizes, percentages, times of day, days, and
//! the instant at which a plan is made. Parsing says what is wrong; the place is the caller's.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The instant that a command acts at. It enters in `cli` and travels as an argument.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct AsOf(pub Timestamp);

/// An instant as people read it in output: RFC 3339 in UTC, to the minute.
pub fn to_minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// Why a text is not a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a period.
    #[error("`{0}` is not a duration: write a number and s, m, h, d or w, such as \"30d\"")]
    Period(String),
    /// Not a size.
    #[error("`{0}` is not a size: write a number and B, KiB, MiB, GiB or TiB, such as \"64KiB\"")]
    Size(String),
    /// Not a percentage.
    #[error("`{0}` is not a percentage: write 0 to 100 and %, such as \"50%\"")]
    Percent(String),
    /// Not a time of day.
    #[error("`{0}` is not a time of day: write HH:MM, such as \"02:00\"")]
    TimeOfDay(String),
    /// Not a day.
    #[error(
        "`{0}` is not a day: write a weekday such as \"sunday\", or a day of the month 1 to 28"
    )]
    Day(String),
    /// Not a day of the year.
    #[error("`{0}` is not a day of the year: write MM-DD, such as \"01-01\"")]
    DayOfYear(String),
}

/// A length of time in whole seconds. Days are 24 hours, weeks 7 days: calendar arithmetic belongs to
/// schedules and calendar rules, never to periods.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Period {
    /// Seconds.
    pub seconds: u64,
}

const PERIOD_UNITS: [(&str, u64); 5] = [
    ("w", 604_800),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
    ("s", 1),
];

impl Period {
    /// `days` times 24 hours.
    pub const fn days(days: u64) -> Self {
        Self {
            seconds: days * 86_400,
        }
    }
    /// `hours` times 60 minutes.
    pub const fn hours(hours: u64) -> Self {
        Self {
            seconds: hours * 3_600,
        }
    }
    /// `minutes` times 60 seconds.
    pub const fn minutes(minutes: u64) -> Self {
        Self {
            seconds: minutes * 60,
        }
    }
    /// This long before `at`; the earliest instant there is when that would overflow.
    pub fn before(self, at: Timestamp) -> Timestamp {
        at.checked_sub(self.signed()).unwrap_or(Timestamp::MIN)
    }
    /// This long after `at`; the latest instant there is when that would overflow.
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.checked_add(self.signed()).unwrap_or(Timestamp::MAX)
    }
    fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(i64::try_from(self.seconds).unwrap_or(i64::MAX))
    }
}

impl FromStr for Period {
    type Err = UnitError;
    /// One or more parts, largest unit first by habit: `30d`, `1h30m`, `0s`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Period(text.to_owned());
        let mut rest = text;
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let (unit, each) = PERIOD_UNITS
                .iter()
                .find(|(unit, _)| rest.starts_with(unit))
                .ok_or_else(wrong)?;
            rest = &rest[unit.len()..];
            seconds = count
                .checked_mul(*each)
                .and_then(|part| seconds.checked_add(part))
                .ok_or_else(wrong)?;
        }
        // A thousand years: beyond it instants overflow, and nobody means it.
        if text.is_empty() || seconds > 365_250 * 86_400 {
            Err(wrong())
        } else {
            Ok(Self { seconds })
        }
    }
}

impl fmt::Display for Period {
    /// The largest units that divide it: `30d`, `1h30m`, `0s`. Weeks print as days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.seconds;
        let mut text = String::new();
        for (unit, each) in &PERIOD_UNITS[1..] {
            if rest >= *each {
                text.push_str(&format!("{}{unit}", rest / each));
                rest %= each;
            }
        }
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}

/// `1 copy`, `2 copies`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for Size {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError::Size(text.to_owned());
        let (digits, each) = SIZE_UNITS
            .iter()
            .find_map(|(unit, each)| text.strip_suffix(unit).map(|digits| (digits, each)))
            .ok_or_else(wrong)?;
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        count.checked_mul(*each).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    /// Three significant digits and a binary unit: `412 MiB`, `1.54 GiB`, `37 B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, each) = SIZE_UNITS
            .iter()
            .find(|(_, each)| self.0 >= *each)
            .unwrap_or(&("B", 1));
        let value = self.0 as f64 / *each as f64;
        let decimals = if *each == 1 || value >= 99.95 {
            0
        } else if value >= 9.995 {
            1
        } else {
            2
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

/// A share of a whole, 0 to 100.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Percent(pub u8);

impl FromStr for Percent {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let value = text
            .strip_suffix('%')
            .and_then(|digits| digits.parse::<u8>().ok());
        value
            .filter(|v| *v <= 100)
            .map(Self)
            .ok_or_else(|| UnitError::Percent(text.to_owned()))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A minute of the day on the plan's wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay {
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: i8,
}

impl FromStr for TimeOfDay {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let two = |part: &str, limit: i8| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<i8>().ok().filter(|v| digits && *v < limit)
        };
        text.split_once(':')
            .and_then(|(h, m)| {
                Some(Self {
                    hour: two(h, 24)?,
                    minute: two(m, 60)?,
                })
            })
            .ok_or_else(|| UnitError::TimeOfDay(text.to_owned()))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// A day of the week.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// Monday to Sunday.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];
    /// The lower-case English name.
    pub fn as_str(self) -> &'static str {
        [
            "monday",
            "tuesday",
            "wednesday",
            "thursday",
            "friday",
            "saturday",
            "sunday",
        ][self as usize]
    }
    /// The same day in jiff's calendar.
    pub fn to_jiff(self) -> jiff::civil::Weekday {
        jiff::civil::Weekday::from_monday_zero_offset(self as i8)
            .unwrap_or(jiff::civil::Weekday::Monday)
    }
}

/// A weekday, or a day of the month that every month has.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub enum Day {
    /// Every week on this day.
    Week(Weekday),
    /// Every month on this day, 1 to 28.
    Month(i8),
}

impl FromStr for Day {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let weekday = Weekday::ALL
            .into_iter()
            .find(|day| day.as_str() == text)
            .map(Self::Week);
        let of_month = || {
            text.parse::<i8>()
                .ok()
                .filter(|day| (1..=28).contains(day))
                .map(Self::Month)
        };
        weekday
            .or_else(of_month)
            .ok_or_else(|| UnitError::Day(text.to_owned()))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Week(day) => f.pad(day.as_str()),
            Self::Month(day) => write!(f, "{day}"),
        }
    }
}

/// A day that every year has, written `MM-DD`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct DayOfYear {
    /// 1 to 12.
    pub month: i8,
    /// 1 to 31, never February 29.
    pub day: i8,
}

impl FromStr for DayOfYear {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.split_once('-')
            .and_then(|(m, d)| {
                Some(Self {
                    month: m.parse().ok()?,
                    day: d.parse().ok()?,
                })
            })
            // 2023 has no February 29, so a date that exists in it exists every year.
            .filter(|d| jiff::civil::Date::new(2023, d.month, d.day).is_ok())
            .ok_or_else(|| UnitError::DayOfYear(text.to_owned()))
    }
}

impl fmt::Display for DayOfYear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

macro_rules! written_as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> { text.parse() }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String { value.to_string() }
        }
    )*};
}
written_as_text! { Period TimeOfDay Day DayOfYear }

#[cfg(test)]
mod tests {
    use super::{Day, DayOfYear, Percent, Period, Size, TimeOfDay, Weekday};

    #[test]
    fn units_read_back_what_they_print() {
        for text in ["30d", "1h30m", "0s", "90s", "6h"] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!("2w".parse(), Ok(Period::days(14)));
        assert_eq!(Period::days(14).to_string(), "14d");
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        assert_eq!(
            "02:30".parse(),
            Ok(TimeOfDay {
                hour: 2,
                minute: 30
            })
        );
        assert_eq!("sunday".parse(), Ok(Day::Week(Weekday::Sunday)));
        assert_eq!("28".parse(), Ok(Day::Month(28)));
        assert_eq!("01-31".parse(), Ok(DayOfYear { month: 1, day: 31 }));
    }

    #[test]
    fn what_is_not_a_unit_is_refused() {
        for text in [
            "",
            "d",
            "30",
            "30 d",
            "-1d",
            "1y",
            "99999999999999999999d",
            "900000w",
        ] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
        for text in ["64", "KiB", "64 KiB", "-1B", "99999999TiB", "64kb"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        assert!("101%".parse::<Percent>().is_err() && "50".parse::<Percent>().is_err());
        for text in ["2:00", "24:00", "02:60", "0200", "+2:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
        assert!("29".parse::<Day>().is_err() && "Sunday".parse::<Day>().is_err());
        assert!("02-29".parse::<DayOfYear>().is_err());
    }

    #[test]
    fn sizes_print_three_digits_and_a_binary_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (37, "37 B"),
            (1 << 20, "1.00 MiB"),
            (432_013_312, "412 MiB"),
            (1_653_562_409, "1.54 GiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
