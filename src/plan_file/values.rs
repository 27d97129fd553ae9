//! Whether a value is what the node table asks for, and what to say when it is not.

use crate::model::ids::is_name;
use crate::model::strategy::Method;
use crate::model::units::{Day, DayOfYear, Percent, Period, Size, TimeOfDay};
use crate::plan_file::literal::Data;
use crate::plan_file::suggest::{did_you_mean, nearest_exact};
use crate::plan_file::syntax::{Origin, Value};
use crate::plan_file::table::Type;

/// Why a value does not fit.
pub(crate) struct Misfit {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Checks one value against its type. `what` is how messages call it: `every`, or `path`.
pub(crate) fn check(ty: Type, what: &str, value: &Value) -> Result<(), Misfit> {
    if matches!(value.origin, Some(Origin::Unset(_))) {
        return Ok(());
    }
    let Some(text) = as_text(ty, value) else {
        return Err(Misfit {
            message: format!("`{what}` is {}, found {}", noun(ty), value.data.kind()),
            help: format!("write {}", example(ty)),
        });
    };
    check_text(ty, what, &text).map_err(|why| Misfit {
        message: match &value.origin {
            // What the environment holds may be a secret: it is named, not shown.
            Some(Origin::Env(name)) => {
                format!(
                    "the value of `${{env.{name}}}` does not fit `{what}`: it is not {}",
                    noun(ty)
                )
            }
            Some(Origin::Variable(name)) => format!(
                "the value of `${{var.{name}}}` does not fit: {}",
                why.message
            ),
            _ => why.message,
        },
        help: why.help,
    })
}

/// The value as text, when it has the right kind of KDL value for `ty`.
pub(crate) fn as_text(ty: Type, value: &Value) -> Option<String> {
    let from_env = matches!(value.origin, Some(Origin::Env(_)));
    match (ty, &value.data) {
        (Type::Integer { .. }, Data::Integer(n)) | (Type::Day, Data::Integer(n)) => {
            Some(n.to_string())
        }
        (Type::Boolean, Data::Bool(b)) => Some(b.to_string()),
        (Type::Integer { .. } | Type::Boolean, Data::Text(text)) if from_env => Some(text.clone()),
        (Type::Integer { .. } | Type::Boolean, _) => None,
        (Type::Any, Data::Integer(n)) => Some(n.to_string()),
        (Type::Any, Data::Bool(b)) => Some(b.to_string()),
        (_, Data::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn check_text(ty: Type, what: &str, text: &str) -> Result<(), Misfit> {
    let misfit = |message: String| {
        let help = format!("write {}", example(ty));
        Err(Misfit { message, help })
    };
    match ty {
        Type::Choice(words) => choice(words, what, text),
        Type::Method => choice(&Method::ALL.map(Method::as_str), what, text),
        Type::Timezone => timezone(text),
        Type::Version => version(text),
        Type::Cron => cron_mistake(text).map_or(Ok(()), misfit),
        Type::Day if !fits(ty, text) => Err(Misfit {
            message: format!("\"{text}\" is not {}", described(ty)),
            help: did_you_mean(text, WEEKDAYS, '"'),
        }),
        Type::Integer { min, max } if !fits(ty, text) && min == max => misfit(format!(
            "{what} {text} is not known to this ccb, which reads {what} {min}"
        )),
        Type::Integer { min, max } if !fits(ty, text) => {
            misfit(format!("{text} is not a whole number from {min} to {max}"))
        }
        // Somebody may have put the secret where its name belongs.
        Type::EnvName if !fits(ty, text) => misfit(format!("this is not {}", described(ty))),
        Type::Path | Type::Text if !fits(ty, text) => misfit(format!("`{what}` is empty")),
        _ if !fits(ty, text) => misfit(format!("\"{text}\" is not {}", described(ty))),
        _ => Ok(()),
    }
}

fn fits(ty: Type, text: &str) -> bool {
    match ty {
        Type::Name => is_name(text),
        Type::VariableName => is_name(&text.replace('_', "-")) && !text.starts_with('_'),
        Type::Integer { min, max } => text.parse().is_ok_and(|n: i64| (min..=max).contains(&n)),
        Type::Boolean => matches!(text, "true" | "false"),
        Type::Duration => text.parse::<Period>().is_ok(),
        Type::Size => text.parse::<Size>().is_ok(),
        Type::Percent => text.parse::<Percent>().is_ok(),
        Type::Time => text.parse::<TimeOfDay>().is_ok(),
        Type::Day => text.parse::<Day>().is_ok(),
        Type::DayOfYear => text.parse::<DayOfYear>().is_ok(),
        Type::Date => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        Type::S3Url => is_s3_url(text),
        Type::SftpUrl => is_sftp_url(text),
        Type::Url => is_http_url(text),
        Type::EnvName => is_env_name(text),
        Type::Path | Type::Text => !text.is_empty() && !text.contains('\0'),
        Type::Cron
        | Type::Timezone
        | Type::Version
        | Type::Choice(_)
        | Type::Method
        | Type::Any => true,
    }
}

/// What a value of the type looks like.
fn described(ty: Type) -> &'static str {
    match ty {
        Type::Name => "a name: a-z, 0-9 and -, starting with a letter",
        Type::VariableName => "a variable name: a-z, 0-9, - and _, starting with a letter",
        Type::Duration => "a duration: a number and s, m, h, d or w",
        Type::Size => "a size: a number and B, KiB, MiB, GiB or TiB",
        Type::Percent => "a percentage: 0 to 100 and %",
        Type::Time => "a time of day: HH:MM",
        Type::Day => "a day: a weekday, or a day of the month from 1 to 28",
        Type::DayOfYear => "a day that every year has: MM-DD",
        Type::Date => "a date: YYYY-MM-DD",
        Type::S3Url => "an S3 URL: s3://BUCKET or s3://BUCKET/PREFIX",
        Type::SftpUrl => "an SFTP URL: sftp://[USER@]HOST[:PORT]/PATH",
        Type::Url => "a URL: https://HOST",
        other => noun(other),
    }
}

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

fn choice(words: &[&str], what: &str, text: &str) -> Result<(), Misfit> {
    if words.contains(&text) {
        return Ok(());
    }
    Err(Misfit {
        message: format!("`{what}` cannot be \"{text}\""),
        help: did_you_mean(text, words.iter().copied(), '"'),
    })
}

fn noun(ty: Type) -> &'static str {
    match ty {
        Type::Name | Type::VariableName => "a name",
        Type::Integer { .. } => "a whole number",
        Type::Boolean => "a boolean",
        Type::Text | Type::Any => "a string",
        Type::Path => "a path",
        Type::Duration => "a duration",
        Type::Size => "a size",
        Type::Percent => "a percentage",
        Type::Time => "a time of day",
        Type::Day => "a day",
        Type::DayOfYear => "a day of the year",
        Type::Date => "a date",
        Type::S3Url => "an S3 URL",
        Type::SftpUrl => "an SFTP URL",
        Type::Url => "a URL",
        Type::EnvName => "the name of an environment variable",
        Type::Cron => "a cron expression",
        Type::Timezone => "a timezone",
        Type::Version => "a version",
        Type::Choice(_) => "one of a few words",
        Type::Method => "a method",
    }
}

/// What could be written: an example, or the words there are.
pub(crate) fn example(ty: Type) -> String {
    match ty {
        Type::Choice(words) => words
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(" or "),
        Type::Integer { min, .. } => min.max(1).to_string(),
        _ => ty.example().to_owned(),
    }
}

fn is_env_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_s3_url(text: &str) -> bool {
    let bucket = text
        .strip_prefix("s3://")
        .map(|rest| rest.split('/').next().unwrap_or_default());
    bucket.is_some_and(|bucket| !bucket.is_empty()) && plain(text)
}

fn is_sftp_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("sftp://")
        .and_then(|rest| rest.split_once('/'));
    rest.is_some_and(|(host, _)| !host.is_empty() && !host.ends_with('@'))
        && !text.contains(char::is_control)
}

fn is_http_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) && plain(text)
}

fn cron_mistake(text: &str) -> Option<String> {
    if text.split_whitespace().count() != 5 {
        return Some(format!(
            "\"{text}\" is not a cron expression: it has five fields"
        ));
    }
    let why = cronexpr::parse_crontab(&format!("{text} UTC")).err()?;
    // The parser draws a caret below the text; its last line says what it expected.
    let why = why.to_string();
    let last = why
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or_default();
    let last = last.trim_start_matches(['^', '-', ' ']);
    Some(format!("\"{text}\" is not a cron expression: {last}"))
}

fn timezone(text: &str) -> Result<(), Misfit> {
    // Known without a look into the machine's folders of time zones, which takes as long as all the rest: a push of
    // WAL reads a plan file too.
    if text == "UTC" || jiff::tz::TimeZone::get(text).is_ok() && is_iana(text) {
        return Ok(());
    }
    let names: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    let near = nearest_exact(text, names.iter().map(String::as_str));
    Err(Misfit {
        message: format!("\"{text}\" is not a timezone of the IANA database"),
        help: match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write a name such as \"UTC\" or \"Europe/Paris\"".to_owned(),
        },
    })
}

/// Names only: no offsets, no paths.
fn is_iana(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b))
        && !text.starts_with(['+', '-', '/'])
}

fn version(text: &str) -> Result<(), Misfit> {
    let numbers = |text: &str| {
        text.split('.')
            .map(|part| part.parse::<u32>().ok())
            .collect::<Option<Vec<_>>>()
    };
    let Some(wanted) = numbers(text.trim_start_matches(">=").trim()).filter(|v| v.len() <= 3)
    else {
        return Err(Misfit {
            message: format!("\"{text}\" is not a version"),
            help: format!(
                "write the oldest ccb that reads this file: \"{}\"",
                env!("CARGO_PKG_VERSION")
            ),
        });
    };
    if numbers(env!("CARGO_PKG_VERSION")).is_some_and(|own| own < wanted) {
        return Err(Misfit {
            message: format!(
                "this plan file needs ccb {text}, this is {}",
                env!("CARGO_PKG_VERSION")
            ),
            help: "install a newer ccb".to_owned(),
        });
    }
    Ok(())
}
