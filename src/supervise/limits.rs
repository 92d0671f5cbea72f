//! When a usage limit is reset, as the client words it for people.
//!
//! There is no fixed form: `You've hit your limit · resets 3am (Europe/Berlin)`,
//! `5-hour limit reached ∙ resets 3pm`, `resets Nov 25, 5pm`,
//! `Claude AI usage limit reached|1760000000`, dates in RFC 3339, seconds to wait. A time of
//! the day or a date without a year is the next one to come. A zone that is named counts if
//! this machine's zone files know it; else its own is meant.

use chrono::{
    DateTime, Datelike, Days, Local, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta,
    TimeZone, Utc,
};

use crate::core::time::Timestamp;

/// A time of the day that passed so short a while ago is meant itself, not tomorrow's: the
/// message came late.
const JUST_NOW: TimeDelta = TimeDelta::minutes(2);

/// Words after which the time follows.
const SIGNPOSTS: &[&str] = &[
    "resets",
    "reset",
    "renews",
    "again",
    "retry-after",
    "retry after",
    "until",
    "available",
];

/// Words that may stand between a signpost and its time.
const FILLERS: &[&str] = &[
    "at", "on", "by", "around", "is", "after", "your", "time", "limit", "the",
];

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// How clocks are set somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Zone {
    /// As on this machine.
    Here,
    /// As everywhere.
    Utc,
    /// As a zone file says.
    Named(tz::TimeZone),
}

impl Zone {
    /// The zone of a name: `Europe/Berlin`, `UTC`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if ["UTC", "GMT", "Z"].contains(&name.to_ascii_uppercase().as_str()) {
            return Some(Self::Utc);
        }
        // It becomes a path.
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_uppercase())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-+".contains(c))
        };
        if !name.contains('/') || !name.split('/').all(is_part) {
            return None;
        }
        tz::TimeZone::from_posix_tz(&format!(":{name}"))
            .ok()
            .map(Self::Named)
    }

    /// How far clocks are ahead of UTC at that time.
    fn ahead(&self, at: NaiveDateTime) -> TimeDelta {
        let seconds = match self {
            Self::Here => Local.offset_from_utc_datetime(&at).fix().local_minus_utc(),
            Self::Utc => 0,
            Self::Named(zone) => zone
                .find_local_time_type(at.and_utc().timestamp())
                .map_or(0, tz::LocalTimeType::ut_offset),
        };
        TimeDelta::seconds(i64::from(seconds))
    }

    fn date(&self, at: DateTime<Utc>) -> NaiveDate {
        let at = at.naive_utc();
        (at + self.ahead(at)).date()
    }

    /// When clocks show this: the first time if they do so twice, and an hour later if they
    /// never do, as they were put forward.
    fn when(&self, shown: NaiveDateTime) -> DateTime<Utc> {
        let (before, after) = (
            self.ahead(shown - TimeDelta::days(1)),
            self.ahead(shown + TimeDelta::days(1)),
        );
        let fits = |ahead: &TimeDelta| self.ahead(shown - *ahead) == *ahead;
        let ahead = [before, after].into_iter().find(fits);
        (shown - ahead.unwrap_or(before)).and_utc()
    }
}

/// When the limit that a text tells of is reset: the first of the times that it names. None
/// when it names none. `local` is the zone of the machine.
pub(crate) fn resets_at(text: &str, now: Timestamp, local: &Zone) -> Option<Timestamp> {
    let now = DateTime::<Utc>::from_timestamp_millis(now.0)?;
    let lower = text.to_ascii_lowercase();
    let behind_bar = lower
        .match_indices('|')
        .filter_map(|(at, _)| epoch(digits(lower.get(at + 1..)?.trim_start())));
    let behind_words = SIGNPOSTS.iter().flat_map(|word| {
        let (lower, text) = (&lower, &text);
        lower.match_indices(word).filter_map(move |(at, _)| {
            // The same places in both, as only ASCII was changed.
            when(text.get(at + word.len()..)?, now, local)
        })
    });
    let found = behind_bar.chain(behind_words).min()?;
    Some(Timestamp(found.timestamp_millis()))
}

/// What is told by `Retry-After`, by the client's own word, or by a number of the provider.
pub(crate) fn of_epoch(number: u64) -> Option<Timestamp> {
    Some(Timestamp(epoch(&number.to_string())?.timestamp_millis()))
}

fn when(tail: &str, now: DateTime<Utc>, local: &Zone) -> Option<DateTime<Utc>> {
    let words: Vec<&str> = tail
        .split(|c: char| c.is_whitespace() || ",;\"'`=".contains(c))
        .map(|word| word.trim_matches(|c: char| ":·∙.!?".contains(c)))
        .filter(|word| !word.is_empty())
        .take(10)
        .collect();
    let is_filler = |word: &&str| FILLERS.contains(&word.to_ascii_lowercase().as_str());
    let words: Vec<&str> = words.iter().copied().skip_while(|w| is_filler(w)).collect();
    let first = words.first()?;
    if let Ok(at) = DateTime::parse_from_rfc3339(first) {
        return Some(at.to_utc());
    }
    if let Some(at) = epoch(first) {
        return Some(at);
    }
    if let Some(length) = length(&words) {
        return now.checked_add_signed(length);
    }
    // What is named before another separator belongs to it.
    Moment::read(&words)?.next(now, local)
}

/// `1760000000` in seconds, or in milliseconds.
fn epoch(word: &str) -> Option<DateTime<Utc>> {
    let number: i64 = word.parse().ok()?;
    match word.len() {
        10 => DateTime::from_timestamp(number, 0),
        13 => DateTime::from_timestamp_millis(number),
        _ => None,
    }
}

fn digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.get(..end.unwrap_or(text.len())).unwrap_or_default()
}

/// `in 3h 20m`, `in 45 minutes`, `120` (seconds), `20s`.
fn length(words: &[&str]) -> Option<TimeDelta> {
    let told = words
        .first()
        .is_some_and(|word| word.eq_ignore_ascii_case("in"));
    let mut rest = words.iter().skip(usize::from(told)).peekable();
    let mut sum = TimeDelta::zero();
    let mut any = false;
    while let Some(word) = rest.next() {
        let word = word.to_ascii_lowercase();
        let number = digits(&word);
        let Ok(count) = number.parse::<i64>() else {
            break;
        };
        let mut unit = word.get(number.len()..).unwrap_or_default().to_owned();
        if unit.is_empty() {
            let next = rest
                .peek()
                .map_or(String::new(), |next| next.to_ascii_lowercase());
            if unit_seconds(&next).is_some() {
                unit = next;
                rest.next();
            }
        }
        let seconds = match unit_seconds(&unit) {
            Some(seconds) => seconds,
            // A plain number, and nothing after it that makes it something else.
            None if unit.is_empty() && !any && words.len() == 1 + usize::from(told) => 1,
            None => break,
        };
        let part = TimeDelta::try_seconds(count.checked_mul(seconds)?)?;
        sum = sum.checked_add(&part)?;
        any = true;
    }
    any.then_some(sum)
}

fn unit_seconds(unit: &str) -> Option<i64> {
    Some(match unit {
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    })
}

/// A point in time as far as it is told.
#[derive(Debug, Default, PartialEq)]
struct Moment {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    weekday: Option<u32>,
    time: Option<NaiveTime>,
    zone: Option<Zone>,
}

impl Moment {
    fn read(words: &[&str]) -> Option<Self> {
        let mut this = Self::default();
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            let lower = word.to_ascii_lowercase();
            let bare = word.trim_matches(|c| "()[]".contains(c));
            let after = words.peek().map(|next| next.to_ascii_lowercase());
            if let Some(month) = name_in(&MONTHS, &lower).filter(|_| this.month.is_none()) {
                this.month = Some(month + 1);
            } else if let Some(weekday) =
                name_in(&WEEKDAYS, &lower).filter(|_| this.weekday.is_none() && this.time.is_none())
            {
                this.weekday = Some(weekday);
            } else if let Some((date, time)) = iso(word) {
                this.year = Some(date.year());
                this.month = Some(date.month());
                this.day = Some(date.day());
                this.time = time.or(this.time);
            } else if this.month.is_some() && this.day.is_none() && day(&lower).is_some() {
                this.day = day(&lower);
            } else if this.day.is_some()
                && this.year.is_none()
                && lower.len() == 4
                && lower.parse::<i32>().is_ok_and(|year| year >= 2000)
            {
                this.year = lower.parse().ok();
            } else if let Some(time) =
                clock(&lower, after.as_deref()).filter(|_| this.time.is_none())
            {
                this.time = Some(time);
                if after.is_some_and(|after| after == "am" || after == "pm") {
                    words.next();
                }
            } else if let Some(zone) = Zone::named(bare).filter(|_| this.is_told()) {
                this.zone = Some(zone);
                break;
            } else if !["at", "on", "the"].contains(&lower.as_str()) {
                break;
            }
        }
        this.is_told().then_some(this)
    }

    fn is_told(&self) -> bool {
        self.time.is_some()
            || self.weekday.is_some()
            || (self.month.is_some() && self.day.is_some())
    }

    /// The next such moment.
    fn next(&self, now: DateTime<Utc>, local: &Zone) -> Option<DateTime<Utc>> {
        let zone = match &self.zone {
            Some(zone) => zone,
            // The client words a bare date in UTC.
            None if self.time.is_none() => &Zone::Utc,
            None => local,
        };
        let today = zone.date(now);
        let time = self.time.unwrap_or(NaiveTime::MIN);
        let at = |date: NaiveDate| zone.when(date.and_time(time));
        let to_come = |date: NaiveDate| Some(at(date)).filter(|at| *at > now - JUST_NOW);
        if let (Some(month), Some(day)) = (self.month, self.day) {
            return match self.year {
                Some(year) => Some(at(NaiveDate::from_ymd_opt(year, month, day)?)),
                // Not by adding years: the 29th of February is not in each.
                None => (today.year()..today.year() + 9)
                    .filter_map(|year| NaiveDate::from_ymd_opt(year, month, day))
                    .find_map(to_come),
            };
        }
        // From yesterday on: it may have passed just before midnight.
        let mut dates = (0..9).filter_map(|n| today.pred_opt()?.checked_add_days(Days::new(n)));
        dates.find_map(|date| {
            let weekday = date.weekday().num_days_from_monday();
            to_come(date).filter(|_| self.weekday.is_none_or(|wanted| wanted == weekday))
        })
    }
}

fn name_in(names: &[&str], word: &str) -> Option<u32> {
    let is_name = word.len() >= 3 && word.chars().all(|c| c.is_ascii_alphabetic());
    let short = word.get(..3).filter(|_| is_name)?;
    let at = names.iter().position(|name| *name == short)?;
    u32::try_from(at).ok()
}

fn day(word: &str) -> Option<u32> {
    let number = digits(word);
    let rest = word.get(number.len()..)?;
    let number: u32 = number.parse().ok()?;
    ((1..=31).contains(&number) && ["", "st", "nd", "rd", "th"].contains(&rest)).then_some(number)
}

/// `2026-11-25`, perhaps with `T17:00` and seconds behind it, without a zone.
fn iso(word: &str) -> Option<(NaiveDate, Option<NaiveTime>)> {
    let (date, time) = word.split_once(['T', 't']).unwrap_or((word, ""));
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    // Years of more digits are none, and lie where there is nothing before or after them.
    (1970..=9999)
        .contains(&date.year())
        .then(|| (date, clock(time, None)))
}

/// `3am`, `3:30pm`, `15:00`, `15:00:30`, `3` before `pm`.
fn clock(word: &str, after: Option<&str>) -> Option<NaiveTime> {
    let half = |text: &str| match text {
        "am" | "a.m" => Some(0),
        "pm" | "p.m" => Some(12),
        _ => None,
    };
    let end = word
        .find(|c: char| !c.is_ascii_digit() && c != ':')
        .unwrap_or(word.len());
    let (numbers, rest) = word.split_at(end);
    let half = match rest {
        "" => after.and_then(half),
        rest => Some(half(rest)?),
    };
    let mut parts = numbers.split(':').map(|part| part.parse::<u32>());
    let hour = parts.next()?.ok()?;
    let minute = parts.next().transpose().ok()?;
    let second = parts.next().transpose().ok()?;
    if parts.next().is_some() || (minute.is_none() && half.is_none()) {
        return None;
    }
    let hour = match half {
        Some(_) if !(1..=12).contains(&hour) => return None,
        Some(half) => hour % 12 + half,
        None => hour,
    };
    NaiveTime::from_hms_opt(hour, minute.unwrap_or(0), second.unwrap_or(0))
}

#[cfg(test)]
mod tests;
