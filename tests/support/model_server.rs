//! A model server on loopback that plays scripted conversations.
//!
//! It speaks enough of the Messages API (with server-sent events) for the real
//! client to work against it: `POST /v1/messages`, `POST
//! /v1/messages/count_tokens`, and harmless answers to everything else. Any
//! number of clients, with their subagents, talk to one server at once; each
//! connection has a thread of its own.
//!
//! What the model "says" is a [`Script`]: rules asked in order, the first that
//! answers wins. A request that no rule knows is answered with an error that
//! the client does not retry, and is listed by [`ModelServer::unexpected`], so
//! that a gap in a script is a failing test and not a hanging one.
//!
//! ```ignore
//! let server = ModelServer::start(
//!     Script::new()
//!         .worker("Build the backend", |w| {
//!             w.tool("Write", json!({"file_path": "{cwd}/backend.rs", "content": "// ok\n"}))
//!                 .bash("git add -A && git commit -qm backend")
//!                 .say("The backend is built.")
//!         })
//!         .on(|r| r.last_user_text().contains("flaky"), |_| {
//!             Reply::error(529, "overloaded_error", "Overloaded")
//!         }),
//! );
//! // … run clients with ANTHROPIC_BASE_URL = server.url() …
//! server.assert_all_expected();
//! ```

mod http;
mod json_script;
mod reply;
mod request;
mod script;
mod sse;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

pub use reply::{Block, Ending, Gate, Message, Reply, Usage};
pub use request::{Request, ToolResult, ToolUse};
pub use script::{Rule, Script, Worker};

/// How long a connection thread sleeps in a read before it looks whether the
/// server was stopped.
const TICK: Duration = Duration::from_millis(100);

/// A running server. It stops when dropped.
pub struct ModelServer {
    port: u16,
    shared: Arc<Shared>,
}

/// What the connection threads share with the test.
struct Shared {
    script: Script,
    log: Mutex<Log>,
    changed: Condvar,
    stop: AtomicBool,
}

/// Everything that happened so far.
#[derive(Default)]
struct Log {
    /// Requests for a message, in the order of their arrival.
    requests: Vec<Arc<Request>>,
    /// Session ids in the order of their first request.
    sessions: Vec<String>,
    /// Descriptions of the requests that nothing in the script knew.
    unexpected: Vec<String>,
    /// Other paths that were asked for: `METHOD path`.
    others: Vec<String>,
    /// Requests whose answer is being withheld or dribbled right now.
    open: usize,
}

impl ModelServer {
    /// Starts a server on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be bound.
    pub fn start(script: Script) -> Self {
        Self::start_on(0, script).expect("bind a loopback port for the model server")
    }

    /// Starts a server on `port` of 127.0.0.1; 0 takes a free one.
    pub fn start_on(port: u16, script: Script) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            script,
            log: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped() {
                    break;
                }
                if let Ok(stream) = stream {
                    let shared = Arc::clone(&accepting);
                    thread::spawn(move || serve(&shared, stream));
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The base URL for `ANTHROPIC_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Every request for a message so far, oldest first.
    pub fn requests(&self) -> Vec<Arc<Request>> {
        self.shared.log().requests.clone()
    }

    /// The requests that satisfy `wanted`, oldest first.
    pub fn requests_where(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Arc<Request>> {
        self.requests().into_iter().filter(|r| wanted(r)).collect()
    }

    /// The ids of the sessions seen, in the order of their first request.
    pub fn sessions(&self) -> Vec<String> {
        self.shared.log().sessions.clone()
    }

    /// `METHOD path` of everything asked for that was not a message.
    pub fn other_requests(&self) -> Vec<String> {
        self.shared.log().others.clone()
    }

    /// How many answers are withheld or still being sent at this moment.
    pub fn open_replies(&self) -> usize {
        self.shared.log().open
    }

    /// Descriptions of the requests that the script did not know.
    pub fn unexpected(&self) -> Vec<String> {
        self.shared.log().unexpected.clone()
    }

    /// Fails the test when any request was not in the script.
    ///
    /// # Panics
    /// With a description of each such request.
    #[track_caller]
    pub fn assert_all_expected(&self) {
        let unexpected = self.unexpected();
        assert!(
            unexpected.is_empty(),
            "{} request(s) that the script does not know:\n{}",
            unexpected.len(),
            unexpected.join("\n---\n")
        );
    }

    /// Waits until `predicate` holds for the requests so far.
    ///
    /// # Errors
    /// After `patience`, a description of what did arrive.
    pub fn wait_for(
        &self,
        patience: Duration,
        predicate: impl Fn(&[Arc<Request>]) -> bool,
    ) -> Result<(), String> {
        let deadline = Instant::now() + patience;
        let mut log = self.shared.log();
        while !predicate(&log.requests) {
            let now = Instant::now();
            if now >= deadline {
                let seen: Vec<String> = log.requests.iter().map(|r| r.describe()).collect();
                return Err(format!(
                    "not within {patience:?}; {} request(s) arrived:\n{}",
                    seen.len(),
                    seen.join("\n---\n")
                ));
            }
            let (guard, _) = self
                .shared
                .changed
                .wait_timeout(log, deadline - now)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            log = guard;
        }
        Ok(())
    }

    /// Waits for the first request that satisfies `wanted` and returns it.
    ///
    /// # Errors
    /// As [`ModelServer::wait_for`].
    pub fn wait_for_request(
        &self,
        patience: Duration,
        wanted: impl Fn(&Request) -> bool,
    ) -> Result<Arc<Request>, String> {
        self.wait_for(patience, |all| all.iter().any(|r| wanted(r)))?;
        self.requests()
            .into_iter()
            .find(|r| wanted(r))
            .ok_or_else(|| "the predicate is not stable".to_owned())
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Numbers a request and keeps it.
    fn record(&self, mut request: Request) -> Arc<Request> {
        let mut log = self.log();
        request.ordinal = log.requests.len();
        let known = log.sessions.iter().position(|s| *s == request.session);
        request.session_ordinal = known.unwrap_or_else(|| {
            log.sessions.push(request.session.clone());
            log.sessions.len() - 1
        });
        request.turn = log
            .requests
            .iter()
            .filter(|earlier| earlier.session == request.session)
            .count();
        let request = Arc::new(request);
        log.requests.push(Arc::clone(&request));
        self.changed.notify_all();
        request
    }

    /// Asks the script; what nobody knows becomes an error and is listed.
    fn answer(&self, request: &Request) -> Reply {
        if let Some(reply) = self.script.answer(request) {
            return reply;
        }
        if let Some(reply) = script::housekeeping(request) {
            return reply;
        }
        self.log().unexpected.push(request.describe());
        self.changed.notify_all();
        Reply::error(
            400,
            "invalid_request_error",
            "the test script does not know this request",
        )
    }
}

/// Serves one connection until the client or the server is done with it.
fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(TICK));
    let mut connection = http::Connection::new(stream, || shared.stopped());
    while let Some(call) = connection.read_call() {
        let path = call.path.split('?').next().unwrap_or_default().to_owned();
        let keep = match (call.method.as_str(), path.as_str()) {
            ("POST", "/v1/messages") => {
                let request = shared.record(Request::new(call));
                let reply = shared.answer(&request);
                shared.log().open += 1;
                let keep = sse::send(&mut connection, &request, reply);
                shared.log().open -= 1;
                shared.changed.notify_all();
                keep
            }
            ("POST", "/v1/messages/count_tokens") => {
                // A token has about four characters.
                connection.json(200, &[], &json!({"input_tokens": call.body.len() / 4}))
            }
            (method, _) => {
                shared.log().others.push(format!("{method} {}", call.path));
                let body = json!({"type": "error",
                    "error": {"type": "not_found_error", "message": "not on loopback"}});
                connection.json(404, &[], &body) && method != "HEAD"
            }
        };
        if !keep {
            break;
        }
    }
}
