use proptest::prelude::*;

use super::*;

fn parse(line: &str) -> Event {
    parse_line(line.as_bytes()).unwrap()
}

#[test]
fn a_tool_call_and_its_text_are_read() {
    let event = parse(
        r#"{"type":"assistant","parent_tool_use_id":null,"message":{"id":"m1","content":[
            {"type":"text","text":"I write."},{"type":"thinking","thinking":"…"},
            {"type":"tool_use","id":"t1","name":"Write","input":{"file_path":"/w/a"}}],
            "usage":{"input_tokens":100,"output_tokens":1,"cache_read_input_tokens":7}}}"#,
    );
    let Event::Assistant(said) = event else {
        panic!("{event:?}")
    };
    assert_eq!(said.message_id, "m1");
    assert_eq!(said.text, "I write.");
    assert_eq!(said.tool_uses[0].name, "Write");
    assert_eq!(tool_subject(&said.tool_uses[0].input), "/w/a");
    assert_eq!(
        said.usage,
        Tokens {
            input: 100,
            output: 1,
            cache_creation: 0,
            cache_read: 7
        }
    );
    assert!(!said.from_subagent);
}

#[test]
fn the_number_of_a_new_todo_item_is_found_in_either_place() {
    for line in [
        r#"{"type":"user","message":{"content":[{"tool_use_id":"t","type":"tool_result","content":"whatever"}]},
            "tool_use_result":{"task":{"id":"2","subject":"x"}}}"#,
        r#"{"type":"user","message":{"content":[{"tool_use_id":"t","type":"tool_result",
            "content":[{"type":"text","text":"Task #2 created successfully: x"}]}]}}"#,
    ] {
        let Event::User(user) = parse(line) else {
            panic!()
        };
        assert_eq!(user.results[0].created_task.as_deref(), Some("2"));
        assert_eq!(user.results[0].tool_use_id, "t");
    }
}

#[test]
fn a_result_is_read_with_costs_of_the_process_and_denials() {
    let event = parse(
        r#"{"type":"result","subtype":"success","is_error":false,"result":"done","num_turns":11,
            "total_cost_usd":0.25,"terminal_reason":"completed","api_error_status":null,
            "usage":{"input_tokens":5,"output_tokens":6},"queued_turn_count":1,"result_index":2,
            "model_usage_since_last_result":{"a":{"inputTokens":10,"outputTokens":20,"costUSD":0.125},
                "b":{"inputTokens":1,"cacheReadInputTokens":4,"costUSD":0.0625}},
            "permission_denials":[{"tool_name":"Bash","tool_use_id":"x","tool_input":{"command":"git push\n origin"}}]}"#,
    );
    let Event::Result(result) = event else {
        panic!("{event:?}")
    };
    assert_eq!(result.total_cost_usd, Some(0.25));
    assert_eq!(
        result.since_last,
        Some((
            0.1875,
            Tokens {
                input: 11,
                output: 20,
                cache_creation: 0,
                cache_read: 4
            }
        ))
    );
    assert_eq!(result.permission_denials, ["Bash: git push origin"]);
    assert_eq!((result.queued_turns, result.index), (1, 2));
    assert_eq!(result.api_error_status, None);
}

#[test]
fn malformed_and_unknown_lines_survive() {
    for (line, kind) in [
        ("{", "not json"),
        ("plain words", "not json"),
        ("[1,2]", "not json"),
        ("\"text\"", "not json"),
        ("{}", ""),
        (r#"{"type":7}"#, ""),
        (r#"{"type":"brand_new"}"#, "brand_new"),
        (r#"{"type":"system","subtype":"newer"}"#, "system/newer"),
    ] {
        assert_eq!(parse(line), Event::Other(kind.into()), "{line}");
    }
    // Known kinds with parts of the wrong shape are read as far as they go.
    for line in [
        r#"{"type":"assistant"}"#,
        r#"{"type":"assistant","message":7}"#,
        r#"{"type":"assistant","message":{"content":{"a":1},"usage":[]}}"#,
        r#"{"type":"assistant","message":{"content":[null,3,{"type":"tool_use"}]}}"#,
    ] {
        assert!(matches!(parse(line), Event::Assistant(_)), "{line}");
    }
    for line in [
        r#"{"type":"result"}"#,
        r#"{"type":"result","total_cost_usd":"free","usage":null,"permission_denials":{}}"#,
        r#"{"type":"result","total_cost_usd":-1,"num_turns":-5}"#,
    ] {
        let Event::Result(result) = parse(line) else {
            panic!("{line}")
        };
        assert_eq!(result.total_cost_usd, None);
    }
    assert_eq!(parse_line(b"  \t"), None);
}

#[test]
fn invalid_utf8_inside_a_text_does_not_lose_the_event() {
    let line = b"{\"type\":\"result\",\"subtype\":\"success\",\"result\":\"a\xff\xfeb\"}";
    let Some(Event::Result(result)) = parse_line(line) else {
        panic!()
    };
    assert_eq!(result.text, "a\u{fffd}\u{fffd}b");
    assert_eq!(
        parse_line(b"\xff\xfe\x00"),
        Some(Event::Other("not json".into()))
    );
}

#[test]
fn messages_stay_on_one_line() {
    let line = user_message("a\nb \"c\"");
    assert_eq!(line.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["message"]["content"], "a\nb \"c\"");
    assert!(interrupt("r1").contains("\"interrupt\""));
}

#[test]
fn one_line_is_short_and_clean() {
    assert_eq!(one_line(" a\n\tb\u{1b}[31m ", 80), "a b[31m");
    assert_eq!(one_line("abcdef", 3), "abc…");
}

fn split(pieces: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, u64) {
    let mut splitter = LineSplitter::new(limit);
    let mut lines = Vec::new();
    for piece in pieces {
        splitter.feed(piece, |line| lines.push(line.to_vec()));
    }
    splitter.finish(|line| lines.push(line.to_vec()));
    (lines, splitter.skipped())
}

#[test]
fn lines_are_put_together_and_too_long_ones_are_passed_over() {
    assert_eq!(
        split(&[b"ab", b"c\nd\n", b"e"], 10).0,
        [b"abc".to_vec(), b"d".to_vec(), b"e".to_vec()]
    );
    let (lines, skipped) = split(&[b"short\n", b"much too", b" long line\nnext\n"], 10);
    assert_eq!(lines, [b"short".to_vec(), b"next".to_vec()]);
    assert_eq!(skipped, 1);
}

proptest! {
    #[test]
    fn no_bytes_bring_the_parser_down(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_line(&line);
    }

    #[test]
    fn no_json_of_a_known_kind_brings_it_down(
        kind in "assistant|user|result|system|control_response",
        field in "message|content|usage|tools|permission_denials|errors|tool_use_result",
        value in "(null|7|-1|1e308|\"x\"|\\[\\]|\\{\\}|\\[null\\]|\\[\\{\"type\":\"tool_use\"\\}\\]|\\{\"content\":\\[1\\]\\})",
    ) {
        let line = format!("{{\"type\":\"{kind}\",\"subtype\":\"init\",\"{field}\":{value}}}");
        prop_assert!(parse_line(line.as_bytes()).is_some());
    }

    #[test]
    fn cutting_the_stream_elsewhere_gives_the_same_lines(
        text in "[ab\n]{0,60}", cut in 0usize..60
    ) {
        let bytes = text.as_bytes();
        let cut = cut.min(bytes.len());
        prop_assert_eq!(split(&[bytes], 5), split(&[&bytes[..cut], &bytes[cut..]], 5));
    }
}

#[test]
fn usage_limits_are_told_in_numbers() {
    let line = br#"{"type":"rate_limit_event","rate_limit_info":{"status":"rejected",
        "resetsAt":1778565600,"rateLimitType":"five_hour","overageStatus":"rejected",
        "overageDisabledReason":"org_level_disabled_until","isUsingOverage":false}}"#;
    let Some(Event::RateLimit(limit)) = parse_line(line) else {
        panic!("not a limit")
    };
    assert!(limit.is_over() && !limit.is_of_one_model());
    assert_eq!(limit.resets_at, Some(1_778_565_600));
    for (info, over, model) in [
        (r#"{"status":"allowed","resetsAt":5}"#, false, false),
        (r#"{"status":"allowed_warning"}"#, false, false),
        (
            r#"{"status":"rejected","overageStatus":"allowed"}"#,
            false,
            false,
        ),
        (
            r#"{"status":"rejected","isUsingOverage":true}"#,
            false,
            false,
        ),
        (
            r#"{"status":"rejected","rateLimitType":"seven_day_opus"}"#,
            true,
            true,
        ),
        (
            r#"{"status":"rejected","rateLimitType":"seven_day_overage_included"}"#,
            true,
            false,
        ),
        ("null", false, false),
    ] {
        let line = format!(r#"{{"type":"rate_limit_event","rate_limit_info":{info}}}"#);
        let Some(Event::RateLimit(limit)) = parse_line(line.as_bytes()) else {
            panic!("not a limit: {info}")
        };
        assert_eq!(
            (limit.is_over(), limit.is_of_one_model()),
            (over, model),
            "{info}"
        );
    }
}

#[test]
fn what_the_client_says_in_place_of_the_model_is_no_answer() {
    let of = |line: &str| match parse_line(line.as_bytes()) {
        Some(Event::Assistant(said)) => said.refusal,
        other => panic!("{other:?}"),
    };
    let said = r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"}]}"#;
    assert_eq!(of(&format!("{said}}}")), None);
    let plain = of(&format!(r#"{said},"error":"overloaded"}}"#)).unwrap();
    assert_eq!((plain.error.as_str(), plain.limit), ("overloaded", None));
    let limit = of(&format!(
        r#"{said},"error":"rate_limit","is_api_error_message":true,
        "api_error":"usage_limit_reached","api_error_params":{{"rate_limit_info":
        {{"status":"rejected","resetsAt":7,"rateLimitType":"seven_day"}}}}}}"#
    ));
    assert_eq!(limit.unwrap().limit.unwrap().resets_at, Some(7));
    let bare = of(&format!(
        r#"{said},"error":"rate_limit","api_error":"usage_limit_reached"}}"#
    ));
    assert!(bare.unwrap().limit.unwrap().is_over());
}
