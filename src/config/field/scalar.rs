//! Switches, numbers, durations, sizes, ratios.

use std::num::NonZeroU32;
use std::time::Duration;

use super::super::kind::Kind;
use super::super::raw::{Item, Raw, Wrong, quote, shown};
use super::super::types::{UNLIMITED, Workers};
use super::super::units::{self, UnitError};
use super::{Field, mismatch, text};

impl Field for bool {
    fn read(item: &Item, kind: &Kind) -> Result<bool, Wrong> {
        let given = match &item.raw {
            Raw::Switch(on) => return Ok(*on),
            Raw::Word(word) if word == "true" => return Ok(true),
            Raw::Word(word) if word == "false" => return Ok(false),
            Raw::Word(word) | Raw::Text(word) => word.to_lowercase(),
            Raw::Integer { value: Some(n), .. } => n.to_string(),
            _ => return Err(mismatch(item, kind)),
        };
        let meant = match given.as_str() {
            "true" | "yes" | "on" | "1" | "y" => "true",
            "false" | "no" | "off" | "0" | "n" => "false",
            _ => return Err(mismatch(item, kind)),
        };
        Err(Wrong::new(format!("must be true or false, not {}", item.what())).bare(meant))
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(self.to_string())
    }
}

impl Field for u64 {
    fn read(item: &Item, kind: &Kind) -> Result<u64, Wrong> {
        match kind {
            Kind::Size { min, max } => within(size(item, kind)?, *min, *max, units::write_size),
            Kind::SizeLimit | Kind::CountLimit if is_unlimited(item) => Ok(UNLIMITED),
            Kind::SizeLimit | Kind::CountLimit if is_negative(item) => {
                Err(Wrong::new("must not be negative").text("unlimited"))
            }
            Kind::SizeLimit => size(item, kind),
            Kind::CountLimit => whole(item, kind, 0, u64::MAX - 1),
            Kind::Mode { max } => mode(item, kind, *max).map(u64::from),
            Kind::Number { min, max } => whole(item, kind, *min, *max),
            _ => whole(item, kind, 0, u64::MAX),
        }
    }

    fn write(&self, kind: &Kind) -> Option<String> {
        Some(match kind {
            Kind::SizeLimit | Kind::CountLimit if *self == UNLIMITED => quote("unlimited"),
            Kind::Size { .. } | Kind::SizeLimit => quote(&units::write_size(*self)),
            Kind::Mode { .. } => quote(&format!("{self:04o}")),
            _ => self.to_string(),
        })
    }
}

impl Field for u32 {
    fn read(item: &Item, kind: &Kind) -> Result<u32, Wrong> {
        let value = u64::read(item, kind)?;
        u32::try_from(value).map_err(|_| {
            Wrong::new(format!("must be at most {}", u32::MAX)).bare(u32::MAX.to_string())
        })
    }

    fn write(&self, kind: &Kind) -> Option<String> {
        u64::from(*self).write(kind)
    }
}

impl Field for Duration {
    fn read(item: &Item, kind: &Kind) -> Result<Duration, Wrong> {
        let min = match kind {
            Kind::Duration { min } => *min,
            _ => Duration::ZERO,
        };
        let value = match &item.raw {
            Raw::Integer { value: Some(n), .. } => {
                let error = units::duration(&n.to_string()).err();
                return Err(error.map_or_else(|| mismatch(item, kind), Wrong::from));
            }
            Raw::Float(n) => {
                let error = units::duration(&format!("{n}s")).err();
                let fix = error.and_then(|e| e.fix).unwrap_or_else(|| format!("{n}s"));
                return Err(Wrong::new("needs a unit: ms, s, m or h").text(fix));
            }
            _ => units::duration(text(item, kind)?)?,
        };
        if value < min {
            let min = units::write_duration(min);
            return Err(Wrong::new(format!("must be at least {min}")).text(min));
        }
        Ok(value)
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(quote(&units::write_duration(*self)))
    }
}

impl Field for f64 {
    fn read(item: &Item, kind: &Kind) -> Result<f64, Wrong> {
        if let Kind::Percent = kind {
            return match &item.raw {
                Raw::Float(n) => Ok(units::percent(&n.to_string())?),
                Raw::Integer { value: Some(n), .. } => Ok(units::percent(&n.to_string())?),
                _ => Ok(units::percent(text(item, kind)?)?),
            };
        }
        let value = match &item.raw {
            Raw::Float(n) => *n,
            Raw::Integer { value: Some(n), .. } => *n as f64,
            Raw::Word(word) => match word.parse() {
                Ok(n) => n,
                Err(_) => {
                    let wrong = mismatch(item, kind);
                    return Err(match cpus_meant(word) {
                        Some(meant) => wrong.bare(format!("{meant:?}")),
                        None => wrong,
                    });
                }
            },
            Raw::Text(word) if cpus_meant(word).is_some() => {
                let meant = cpus_meant(word).unwrap_or(1.0);
                return Err(mismatch(item, kind).bare(format!("{meant:?}")));
            }
            _ => return Err(mismatch(item, kind)),
        };
        if !CPUS.contains(&value) {
            return Err(Wrong::new("must be from 0.01 to 65536 CPUs").bare("1.0"));
        }
        Ok(value)
    }

    fn write(&self, kind: &Kind) -> Option<String> {
        Some(match kind {
            Kind::Percent => quote(&format!("{self}%")),
            _ => format!("{self:?}"),
        })
    }
}

/// `"50%"` is half a CPU, `"0.5"` only has quotes too many.
fn cpus_meant(word: &str) -> Option<f64> {
    let meant: f64 = match word.trim().strip_suffix('%') {
        Some(share) => share.trim().parse::<f64>().ok()? / 100.0,
        None => word.trim().parse().ok()?,
    };
    CPUS.contains(&meant).then_some(meant)
}

const CPUS: std::ops::RangeInclusive<f64> = 0.01..=65536.0;

impl Field for Workers {
    fn read(item: &Item, kind: &Kind) -> Result<Workers, Wrong> {
        match &item.raw {
            Raw::Word(word) | Raw::Text(word) if word == "auto" => return Ok(Workers::Auto),
            Raw::Text(word) | Raw::Word(word) if word.to_lowercase() == "auto" => {
                return Err(mismatch(item, kind).text("auto"));
            }
            _ => {}
        }
        let count = whole(item, kind, 0, u64::from(WORKERS_MAX))?;
        let count = u32::try_from(count).ok().and_then(NonZeroU32::new);
        count.map(Workers::Count).ok_or_else(|| {
            Wrong::new("must be at least 1: a generation without a worker serves nobody").bare("1")
        })
    }

    fn write(&self, _: &Kind) -> Option<String> {
        Some(match self {
            Workers::Auto => quote("auto"),
            Workers::Count(n) => n.to_string(),
        })
    }
}

/// Workers of a generation: more are certainly a mistake.
pub const WORKERS_MAX: u32 = 10_000;

impl From<UnitError> for Wrong {
    fn from(error: UnitError) -> Wrong {
        let wrong = Wrong::new(error.message);
        match error.fix {
            Some(fix) => wrong.text(fix),
            None => wrong,
        }
    }
}

fn is_unlimited(item: &Item) -> bool {
    matches!(&item.raw, Raw::Word(text) | Raw::Text(text) if text == "unlimited")
}

fn is_negative(item: &Item) -> bool {
    match &item.raw {
        Raw::Integer { value: Some(n), .. } => *n < 0,
        Raw::Word(text) | Raw::Text(text) => text.starts_with('-'),
        _ => false,
    }
}

fn whole(item: &Item, kind: &Kind, min: u64, max: u64) -> Result<u64, Wrong> {
    let value = match &item.raw {
        Raw::Integer { value: Some(n), .. } => *n,
        Raw::Integer { value: None, .. } => return Err(above(max)),
        Raw::Word(word) => match parse_word(word) {
            Some(n) => n,
            None => return Err(mismatch(item, kind)),
        },
        Raw::Text(word) => {
            let meant = parse_word(word).and_then(|n| u64::try_from(n).ok());
            return Err(match meant.filter(|n| (min..=max).contains(n)) {
                Some(n) => Wrong::new(format!("must be a number, not the string {}", shown(word)))
                    .bare(n.to_string()),
                None => mismatch(item, kind),
            });
        }
        Raw::Float(n) if n.fract() == 0.0 && (min as f64..=max as f64).contains(n) => {
            return Err(
                Wrong::new("must be a whole number, without a point").bare(format!("{n:.0}"))
            );
        }
        _ => return Err(mismatch(item, kind)),
    };
    match u64::try_from(value) {
        Ok(n) => within(n, min, max, |n| n.to_string()),
        Err(_) if value < 0 => Err(below(min.to_string())),
        Err(_) => Err(above(max)),
    }
}

fn parse_word(word: &str) -> Option<i128> {
    let digits = word.strip_prefix('-').unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than an i128 holds are certainly out of range: so is its maximum.
    Some(word.parse().unwrap_or(i128::MAX))
}

fn within(value: u64, min: u64, max: u64, write: fn(u64) -> String) -> Result<u64, Wrong> {
    if value < min {
        return Err(below(write(min)));
    }
    if value > max {
        let max = write(max);
        return Err(Wrong::new(format!("must be at most {max}")).bare_or_text(max));
    }
    Ok(value)
}

fn below(written: String) -> Wrong {
    Wrong::new(format!("must be at least {written}")).bare_or_text(written)
}

fn above(max: u64) -> Wrong {
    Wrong::new(format!("must be at most {max}")).bare(max.to_string())
}

impl Wrong {
    /// Sizes with a unit need quotes, numbers do not.
    fn bare_or_text(self, fix: String) -> Wrong {
        if fix.bytes().all(|b| b.is_ascii_digit()) {
            self.bare(fix)
        } else {
            self.text(fix)
        }
    }
}

fn size(item: &Item, kind: &Kind) -> Result<u64, Wrong> {
    match &item.raw {
        Raw::Integer { value: Some(n), .. } => match u64::try_from(*n) {
            Ok(n) if n < u64::MAX => Ok(n),
            Ok(_) => Err(Wrong::new("is too large")),
            Err(_) => Err(Wrong::new("must be at least 0").bare("0")),
        },
        _ => Ok(units::size(text(item, kind)?)?),
    }
}

fn mode(item: &Item, kind: &Kind, max: u32) -> Result<u32, Wrong> {
    match &item.raw {
        Raw::Integer {
            value: Some(n),
            radix: 8,
        } => match u32::try_from(*n) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(Wrong::new(format!("is above {max:04o}, the highest mode")).text("0660")),
        },
        Raw::Integer { value: Some(n), .. } => {
            let fix = units::octal(&n.to_string(), max)
                .map_or("0660".into(), |mode| format!("{mode:04o}"));
            Err(Wrong::new(format!(
                "must be an octal mode in quotes, not the number {n}"
            ))
            .text(fix))
        }
        _ => Ok(units::octal(text(item, kind)?, max)?),
    }
}
