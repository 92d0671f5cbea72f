use std::fs;
use std::process::Command;
use std::time::Duration;
use serde_json::json;
use super::support::client::{Home, claude, claude_command, point_at};
use super::support::model_server::{ModelServer, Reply, Script};
use super::support::terminal::Terminal;

#[test]
fn probe() {
    let home = Home::new();
    let repository = home.repository("repo");
    home.accept_everything(&[&repository]);
    let wt = home.beside("wt");
    home.git(&repository, &["worktree", "add", "-q", "-b", "task/x", wt.to_str().unwrap()]);
    fs::create_dir_all(wt.join(".claude")).unwrap();
    let dump = |name: &str| json!([{"hooks":[{"type":"command","command":"sh","args":["-c", format!("cat >> /tmp/probe/{name}.json; echo >> /tmp/probe/{name}.json; env | grep -i orch >> /tmp/probe/env.txt")], "timeout": 10}]}]);
    let _ = fs::remove_dir_all("/tmp/probe");
    fs::create_dir_all("/tmp/probe").unwrap();
    fs::write(wt.join(".claude/settings.local.json"), json!({
        "hooks": {"PostToolUse": dump("post"), "UserPromptSubmit": dump("prompt"), "Stop": dump("stop"),
          "SessionStart": dump("start"), "SessionEnd": dump("end")},
    }).to_string()).unwrap();
    let script = Script::new()
        .worker("hello first", |w| w.tool("TaskCreate", json!({"subject": "Write it", "description": "d", "activeForm": "W"})).write("a.txt", "a").reply(Reply::text("First done.").tokens(100000, 2000)))
        .worker("typed second", |w| w.bash("echo hi; env | grep ORCH").tool("TaskUpdate", json!({"taskId":"1","status":"completed"})).reply(Reply::text("Second done.").tokens(100000, 3000)))
        .worker("third headless", |w| w.reply(Reply::text("Third done.").tokens(100000, 1000)));
    let server = ModelServer::start(script);
    let session = "0d9e4d0c-5f3a-4d0e-9a50-3d6a8a1f7f01";
    let out = claude_command(&home, &server).env("CLAUDE_CODE_ENABLE_TODO_TOOLS","1").args(["-p", "hello first", "--session-id", session, "--permission-mode", "acceptEdits", "--output-format", "json", "--allowedTools", "Bash"]).current_dir(&wt).output().unwrap();
    fs::write("/tmp/probe/p1.json", &out.stdout).unwrap();
    let statusline = json!({"statusLine": {"type":"command","command":"cat >> /tmp/probe/status.json; echo >> /tmp/probe/status.json; echo ORCHESTRA-LINE", "refreshInterval": 1}}).to_string();
    let mut c = Command::new(claude());
    c.env_clear();
    home.environment(&mut c);
    point_at(&mut c, &server);
    c.env("ORCHESTRA_MARK", "t/r/x").env("CLAUDE_CODE_ENABLE_TODO_TOOLS","1");
    c.args(["--resume", session, "--permission-mode", "acceptEdits", "--setting-sources", "project,local", "--max-budget-usd", "5", "--settings", &statusline, "-n", "run/x", "--append-system-prompt", "RULES HERE", "--allowedTools", "Bash"]).current_dir(&wt);
    let mut t = Terminal::start(&c, 120, 40);
    let p = Duration::from_secs(40);
    let s = t.wait_for("start", p, |s| s.contains("ORCHESTRA-LINE") || s.contains("rror"));
    fs::write("/tmp/probe/screen1.txt", &s).unwrap();
    t.type_text("typed second");
    std::thread::sleep(Duration::from_millis(500));
    t.type_text("\r");
    let s = t.wait_for("second", p, |s| s.contains("Second done"));
    fs::write("/tmp/probe/screen2.txt", &s).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    t.type_text("/exit");
    std::thread::sleep(Duration::from_millis(700));
    t.type_text("\r");
    std::thread::sleep(Duration::from_secs(3));
    fs::write("/tmp/probe/screen3.txt", t.screen()).unwrap();
    let _ = Command::new("sh").args(["-c", &format!("find {} -name '*.jsonl' > /tmp/probe/files.txt; cp $(cat /tmp/probe/files.txt) /tmp/probe/ ; cp {}/.claude.json /tmp/probe/claude.json", home.path().display(), home.path().display())]).status();
    let out = claude_command(&home, &server).args(["-p", "third headless", "--resume", session, "--output-format", "json"]).current_dir(&wt).output().unwrap();
    fs::write("/tmp/probe/p3.json", &out.stdout).unwrap();
    fs::write("/tmp/probe/reqs.txt", server.requests().iter().map(|r| format!("{} tools={:?} sys={} prompts={:?}\n", r.session.clone(), r.tools().len(), r.system_text().contains("RULES HERE"), r.prompts())).collect::<String>()).unwrap();
}
