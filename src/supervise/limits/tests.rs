use super::*;

fn berlin() -> Zone {
    Zone::named("Europe/Berlin").expect("this machine has zone files")
}

fn at(text: &str) -> Timestamp {
    Timestamp(
        DateTime::parse_from_rfc3339(text)
            .unwrap()
            .timestamp_millis(),
    )
}

#[test]
fn the_clients_words_are_understood() {
    // A Saturday; the machine is in Berlin, one hour ahead.
    let now = at("2026-11-21T15:00:00Z");
    for (text, expected) in [
        (
            "Claude AI usage limit reached|1795300000",
            "2026-11-21T22:26:40Z",
        ),
        (
            "Claude AI usage limit reached|1795300000123",
            "2026-11-21T22:26:40.123Z",
        ),
        (
            "You've hit your limit · resets 3am (Europe/Berlin)",
            "2026-11-22T02:00:00Z",
        ),
        (
            "You've hit your session limit · resets 8:30pm (Asia/Tokyo)",
            "2026-11-22T11:30:00Z",
        ),
        (
            "You've hit your session limit · resets 12:50am (America/Los_Angeles)",
            "2026-11-22T08:50:00Z",
        ),
        (
            "You've hit your limit · resets 11pm (America/Anchorage)",
            "2026-11-22T08:00:00Z",
        ),
        (
            "You've hit your session limit · resets 3:20am (Asia/Calcutta)",
            "2026-11-21T21:50:00Z",
        ),
        ("5-hour limit reached ∙ resets 5pm", "2026-11-21T16:00:00Z"),
        ("5-hour limit reached ∙ resets 3pm", "2026-11-22T14:00:00Z"),
        (
            "Weekly limit reached · resets 10am (Asia/Seoul) · /upgrade to Max or turn on /extra-usage",
            "2026-11-22T01:00:00Z",
        ),
        (
            "You've hit your weekly limit · resets Nov 25, 5pm",
            "2026-11-25T16:00:00Z",
        ),
        (
            "You've hit your weekly limit · resets Jul 31, 2am (UTC)",
            "2027-07-31T02:00:00Z",
        ),
        (
            "You've hit your Opus limit · resets Jan 3, 2027, 9:15am (Europe/London)",
            "2027-01-03T09:15:00Z",
        ),
        (
            "You've hit your monthly spend limit · resets Dec 1 · progress saved",
            "2026-12-01T00:00:00Z",
        ),
        (
            "Your limit will reset at 3pm (America/New_York).",
            "2026-11-21T20:00:00Z",
        ),
        (
            "Limits will reset at 9:30 AM. View your usage details.",
            "2026-11-22T08:30:00Z",
        ),
        (
            "Your usage limit resets on Monday at 7:00 am UTC",
            "2026-11-23T07:00:00Z",
        ),
        ("resets 15:00 GMT", "2026-11-21T15:00:00Z"),
        ("limit resets 2026-11-25T17:00:00Z", "2026-11-25T17:00:00Z"),
        (
            "limit resets at 2026-11-25T17:00:00+01:00;",
            "2026-11-25T16:00:00Z",
        ),
        ("resets 2026-11-25 17:00 UTC", "2026-11-25T17:00:00Z"),
        ("resets 2026-11-25T17:00", "2026-11-25T16:00:00Z"),
        ("usage limit, retry-after: 120", "2026-11-21T15:02:00Z"),
        ("Please try again in 45 minutes.", "2026-11-21T15:45:00Z"),
        ("usage limit resets in 3h 20m", "2026-11-21T18:20:00Z"),
        ("limit reached, retry after 20s", "2026-11-21T15:00:20Z"),
        (
            "anthropic-ratelimit-unified-reset: 1795300000",
            "2026-11-21T22:26:40Z",
        ),
        (
            "5-hour limit resets 6pm, weekly limit resets Nov 25, 5pm",
            "2026-11-21T17:00:00Z",
        ),
    ] {
        let found = resets_at(text, now, &berlin());
        assert_eq!(
            found,
            Some(at(expected)),
            "{text}: {:?}",
            found.map(Timestamp::rfc3339)
        );
    }
}

#[test]
fn what_names_no_time_gives_none() {
    let now = at("2026-11-21T15:00:00Z");
    for text in [
        "",
        "Claude usage limit reached",
        "usage limit reached|soon",
        "Credit balance is too low",
        "You've hit your limit · resets soon",
        "resets 25:00",
        "resets 13pm",
        "resets Feb 30, 3pm",
        "the limit is 200 000 tokens, reset the context",
        "resets · 3pm",
        "resets 9999999999999999999999",
        "try again in 99999999999999999 hours",
        "ré·resets é",
    ] {
        let found = resets_at(text, now, &berlin());
        let soon = text.contains("· 3pm");
        assert_eq!(
            found.is_some(),
            soon,
            "{text}: {:?}",
            found.map(Timestamp::rfc3339)
        );
    }
}

#[test]
fn a_time_that_just_passed_is_not_tomorrows() {
    let text = "resets 4pm (Europe/Berlin)";
    for (now, expected) in [
        ("2026-11-21T14:59:59Z", "2026-11-21T15:00:00Z"),
        ("2026-11-21T15:01:30Z", "2026-11-21T15:00:00Z"),
        ("2026-11-21T15:03:00Z", "2026-11-22T15:00:00Z"),
    ] {
        assert_eq!(
            resets_at(text, at(now), &Zone::Utc),
            Some(at(expected)),
            "{now}"
        );
    }
    let midnight = "resets 12am";
    let found = resets_at(midnight, at("2026-11-21T00:01:00Z"), &Zone::Utc);
    assert_eq!(found, Some(at("2026-11-21T00:00:00Z")));
}

#[test]
fn clocks_that_are_put_forward_or_back_are_no_trouble() {
    // 02:30 is left out on 28 March 2027 and comes twice on 25 October 2026.
    for (now, expected) in [
        ("2027-03-27T23:00:00Z", "2027-03-28T01:30:00Z"),
        ("2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"),
    ] {
        assert_eq!(
            resets_at("resets 2:30am", at(now), &berlin()),
            Some(at(expected))
        );
    }
}

#[test]
fn a_zone_that_is_not_known_or_no_name_is_none() {
    for name in [
        "Nowhere/Town",
        "../../etc/passwd",
        "/etc/localtime",
        "Europe/",
        "localtime",
        "",
    ] {
        assert_eq!(Zone::named(name), None, "{name}");
    }
    let now = at("2026-11-21T15:00:00Z");
    let found = resets_at("resets 6pm (Nowhere/Town)", now, &berlin());
    assert_eq!(found, Some(at("2026-11-21T17:00:00Z")));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,80}", tail in "resets? (at )?[A-Za-z0-9:,|() .-]{0,40}") {
        let now = at("2026-11-21T15:00:00Z");
        let _ = resets_at(&text, now, &berlin());
        let _ = resets_at(&format!("{text}{tail}"), now, &Zone::Utc);
    }
}

#[test]
fn times_beyond_all_calendars_are_none_and_no_panic() {
    let now = at("2026-11-21T15:00:00Z");
    for text in [
        "usage limit reached, resets in 100000000000 days",
        "usage limit reached, resets in 100000000000d 100000000000d",
        "usage limit reached, resets +262142-12-31",
        "usage limit reached, resets -262143-01-01 00:00",
        "usage limit reached, resets in 99999999999999999999s",
    ] {
        assert_eq!(resets_at(text, now, &Zone::Utc), None, "{text}");
    }
}
