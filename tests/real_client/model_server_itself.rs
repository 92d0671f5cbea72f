//! The model server alone, talked to over a plain socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::model_server::{Gate, ModelServer, Reply, Script, Usage};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends one request and reads until the server closes or, for a stream, ends.
fn post(server: &ModelServer, body: &Value) -> String {
    call(server, "POST", "/v1/messages?beta=true", &body.to_string())
}

fn call(server: &ModelServer, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connect");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("set a timeout");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("send");
    // No more will be sent; the server closes when it sees that.
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half close");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn asking(text: &str) -> Value {
    json!({"model": "m", "stream": true, "tools": [{"name": "Bash"}],
        "metadata": {"user_id": json!({"session_id": "s1"}).to_string()},
        "messages": [{"role": "user", "content": text}]})
}

/// A conversation in which the assistant has called these tools and has their results.
fn after(prompt: &str, results: &[&str]) -> Value {
    let mut request = asking(prompt);
    let messages = request["messages"].as_array_mut().expect("messages");
    for (index, result) in results.iter().enumerate() {
        let id = format!("t{index}");
        messages.push(json!({"role": "assistant", "content": [
            {"type": "tool_use", "id": id, "name": "Bash", "input": {}}]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": result}]}));
    }
    request
}

#[test]
fn text_is_streamed_with_its_usage() {
    let server = ModelServer::start(Script::new().on(
        |r| r.first_user_text() == "hello",
        |_| {
            Reply::text("good day").usage(Usage {
                input: 7,
                output: 3,
                cache_read: 5,
                cache_creation: 2,
            })
        },
    ));
    let answer = post(&server, &asking("hello"));
    for part in [
        "event: message_start",
        "\"text\":\"good day\"",
        "\"stop_reason\":\"end_turn\"",
        "\"output_tokens\":3",
        "\"cache_read_input_tokens\":5",
        "event: message_stop",
        "0\r\n\r\n",
    ] {
        assert!(answer.contains(part), "{part} is missing in:\n{answer}");
    }
    assert_eq!(server.sessions(), ["s1"]);
    server.assert_all_expected();
}

#[test]
fn without_a_stream_the_message_is_one_document() {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::bash("ls")));
    let mut request = asking("x");
    request["stream"] = json!(false);
    let answer = post(&server, &request);
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let body: Value = serde_json::from_str(body).expect("one document");
    assert_eq!(body["content"][0]["name"], "Bash");
    assert_eq!(body["stop_reason"], "tool_use");
}

#[test]
fn a_worker_goes_by_the_conversation_alone() {
    let script = Script::new().worker("Build it", |w| {
        w.bash("one")
            .reply(Reply::text("and").and_tool("Bash", json!({"command": "{last_result}"})))
            .say("done")
    });
    let server = ModelServer::start(script);
    // In any order, as many instances would ask.
    let third = post(&server, &after("Build it", &["r1", "r2"]));
    let first = post(&server, &after("Build it", &[]));
    let second = post(&server, &after("Build it", &["r1"]));
    assert!(first.contains("one"), "{first}");
    assert!(
        second.contains("r1") && second.contains("tool_use"),
        "{second}"
    );
    assert!(
        third.contains("done") && third.contains("end_turn"),
        "{third}"
    );
    server.assert_all_expected();
    // The course is over.
    post(&server, &after("Build it", &["r1", "r2", "r3"]));
    assert_eq!(server.unexpected().len(), 1);
}

#[test]
fn a_call_that_a_crash_tore_away_is_made_again() {
    let server =
        ModelServer::start(Script::new().worker("Build it", |w| w.bash("one").say("done")));
    let torn = "[Tool call interrupted: the session ended before this call's result was recorded]";
    let mut request = after("Build it", &[torn]);
    request["messages"].as_array_mut().expect("messages").extend([
        json!({"role": "assistant", "content": [{"type": "text", "text": "No response requested."}]}),
        json!({"role": "user", "content": "go on"}),
    ]);
    let answer = post(&server, &request);
    assert!(answer.contains("one"), "{answer}");
    assert_eq!(server.requests()[0].steps_done(), 0);
}

#[test]
fn a_course_begins_where_its_marker_is_said() {
    let script = Script::new().worker("/status", |w| w.bash("orchestra status").say("all well"));
    let server = ModelServer::start(script);
    let mut request = after("something else before", &["r"]);
    let messages = request["messages"].as_array_mut().expect("messages");
    messages.push(json!({"role": "assistant", "content": [{"type": "text", "text": "done"}]}));
    messages.push(json!({"role": "user", "content": "/status"}));
    let answer = post(&server, &request);
    assert!(answer.contains("orchestra status"), "{answer}");
}

#[test]
fn mid_turn_messages_are_the_users() {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::text("ok")));
    let mut request = after("Build it", &["r"]);
    request["messages"].as_array_mut().expect("messages").push(json!({"role": "system",
        "content": [{"type": "text", "text": "The user sent a new message while you were working:\nuse tabs\n\nThis is how it is."}]}));
    post(&server, &request);
    assert_eq!(server.requests()[0].last_user_text(), "use tabs");
}

#[test]
fn what_the_script_does_not_know_is_an_error_and_is_listed() {
    let server = ModelServer::start(Script::new());
    let answer = post(&server, &asking("surprise"));
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(server.unexpected()[0].contains("surprise"));
}

#[test]
fn errors_carry_status_and_headers_and_end_after_their_times() {
    let script = Script::new()
        .first(2, |_| true, |_| Reply::rate_limited(3))
        .on(|_| true, |_| Reply::text("fine"));
    let server = ModelServer::start(script);
    for _ in 0..2 {
        let answer = post(&server, &asking("x"));
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(
            answer.contains("retry-after: 3") && answer.contains("rate_limit_error"),
            "{answer}"
        );
    }
    assert!(post(&server, &asking("x")).contains("fine"));
}

#[test]
fn streams_break_as_they_are_told() {
    let script = Script::new()
        .on(
            |r| r.last_user_text() == "cut",
            |_| Reply::text("a long text").cut(),
        )
        .on(
            |r| r.last_user_text() == "endless",
            |_| Reply::text("text").without_message_stop(),
        )
        .on(
            |r| r.last_user_text() == "raw",
            |_| Reply::Raw(b"garbage".to_vec()),
        );
    let server = ModelServer::start(script);
    let cut = post(&server, &asking("cut"));
    assert!(
        cut.contains("a long t") && !cut.contains("a long text"),
        "{cut}"
    );
    assert!(!cut.contains("content_block_stop"), "{cut}");
    let endless = post(&server, &asking("endless"));
    assert!(
        endless.contains("content_block_stop") && !endless.contains("message_stop"),
        "{endless}"
    );
    assert_eq!(post(&server, &asking("raw")), "garbage");
}

#[test]
fn a_gate_holds_the_answer_back() {
    let gate = Gate::closed();
    let held = gate.clone();
    let server =
        ModelServer::start(Script::new().on(|_| true, move |_| Reply::text("late").held_by(&held)));
    std::thread::scope(|scope| {
        // The reader keeps its side open, as a client does.
        let reader = scope.spawn(|| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("connect");
            let body = asking("x").to_string();
            write!(
                stream,
                "POST /v1/messages HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
            .expect("send");
            let mut all = String::new();
            let mut buffer = [0; 4096];
            while !all.contains("message_stop") {
                let n = stream.read(&mut buffer).expect("read");
                all.push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        server
            .wait_for(PATIENCE, |all| all.len() == 1)
            .expect("the request");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(server.open_replies(), 1);
        assert!(!reader.is_finished());
        gate.open();
        reader.join().expect("the whole answer");
    });
}

#[test]
fn a_hanging_answer_ends_with_the_client() {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::Hang));
    let started = Instant::now();
    assert_eq!(post(&server, &asking("x")), "");
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn waiting_ends_with_a_description() {
    let server = ModelServer::start(Script::new().on(|_| true, |_| Reply::text("x")));
    post(&server, &asking("only this"));
    let error = server
        .wait_for(Duration::from_millis(50), |all| all.len() > 1)
        .expect_err("nothing else comes");
    assert!(error.contains("only this"), "{error}");
}

#[test]
fn the_client_s_own_requests_and_other_paths_are_harmless() {
    let server = ModelServer::start(Script::new());
    let title = json!({"model": "claude-haiku", "messages": [{"role": "user", "content": "x"}],
        "output_config": {"format": {"schema": {"properties": {"title": {}}}}}});
    assert!(post(&server, &title).contains("Scripted session"));
    let counted = call(
        &server,
        "POST",
        "/v1/messages/count_tokens",
        "{\"a\": 1234}",
    );
    assert!(counted.contains("input_tokens"), "{counted}");
    assert!(call(&server, "GET", "/elsewhere", "").starts_with("HTTP/1.1 404"));
    assert_eq!(server.other_requests(), ["GET /elsewhere"]);
    server.assert_all_expected();
}

#[test]
fn scripts_are_read_from_json() {
    let script = r#"{"rules": [
        {"when": {"last_user": "flaky"}, "times": 1,
         "reply": {"error": {"status": 529, "type": "overloaded_error", "headers": {"retry-after": "1"}}}},
        {"when": {"user": "work"}, "steps": [
            {"text": "now", "tools": [{"name": "Bash", "input": {"command": "ls"}}]},
            {"text": "finished", "usage": {"output": 9}}]},
        {"reply": {"text": "otherwise"}}]}"#;
    let server = ModelServer::start(Script::from_json(script).expect("a good script"));
    assert!(post(&server, &asking("flaky")).starts_with("HTTP/1.1 529"));
    assert!(post(&server, &asking("flaky")).contains("otherwise"));
    assert!(post(&server, &after("work", &[])).contains("tool_use"));
    let last = post(&server, &after("work", &["r"]));
    assert!(
        last.contains("finished") && last.contains("\"output_tokens\":9"),
        "{last}"
    );
    for (bad, part) in [
        ("{\"rules\": [{\"wen\": {}}]}", "wen"),
        ("{\"rules\": [{\"reply\": {\"txt\": 1}}]}", "txt"),
        ("{\"rules\": [{\"reply\": {}}]}", "says and does nothing"),
        ("{\"rules\": [{}]}", "either"),
        ("nonsense", "expected"),
    ] {
        let error = Script::from_json(bad).err().expect(bad);
        assert!(error.contains(part), "{bad}: {error}");
    }
}
