//! As much of HTTP/1.1 as one client needs.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// One HTTP request.
pub struct Call {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with its query.
    pub path: String,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// One side of a connection that notices when the server is to stop.
pub struct Connection<'a> {
    stream: TcpStream,
    stopped: Box<dyn Fn() -> bool + 'a>,
    pending: Vec<u8>,
}

impl<'a> Connection<'a> {
    pub fn new(stream: TcpStream, stopped: impl Fn() -> bool + 'a) -> Self {
        Self {
            stream,
            stopped: Box::new(stopped),
            pending: Vec::new(),
        }
    }

    /// Whether the server was told to stop.
    pub fn stopped(&self) -> bool {
        (self.stopped)()
    }

    /// Reads the next request; none when the peer is gone or the server stops.
    pub fn read_call(&mut self) -> Option<Call> {
        let end = loop {
            if let Some(end) = find(&self.pending, b"\r\n\r\n") {
                break end;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        self.pending.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let method = first.next()?.to_owned();
        let path = first.next()?.to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let header = |name: &str| {
            headers
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
        };
        if header("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
            self.bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let chunked = header("transfer-encoding").is_some_and(|v| v.contains("chunked"));
        let length = header("content-length")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        let body = if chunked {
            self.read_chunks()?
        } else {
            self.take(length)?
        };
        Some(Call {
            method,
            path,
            headers,
            body,
        })
    }

    /// Sends a whole JSON answer. False when the connection is lost.
    pub fn json(&mut self, status: u16, headers: &[(String, String)], body: &Value) -> bool {
        let body = body.to_string();
        let mut head = format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            reason(status),
            body.len()
        );
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.push_str("\r\n");
        self.bytes(head.as_bytes()) && self.bytes(body.as_bytes())
    }

    /// Begins an event stream whose end is marked by its last chunk.
    pub fn begin_stream(&mut self) -> bool {
        self.bytes(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
              cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// Sends one piece of an event stream.
    pub fn chunk(&mut self, data: &[u8]) -> bool {
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.bytes(&framed)
    }

    /// Ends an event stream as a healthy server does.
    pub fn end_stream(&mut self) -> bool {
        self.bytes(b"0\r\n\r\n")
    }

    /// Sends bytes as they are.
    pub fn bytes(&mut self, data: &[u8]) -> bool {
        self.stream
            .write_all(data)
            .and_then(|()| self.stream.flush())
            .is_ok()
    }

    /// Closes both directions at once.
    pub fn cut(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sleeps, but no longer than the peer and the server live. False when
    /// either is gone.
    pub fn pause(&mut self, time: Option<Duration>) -> bool {
        self.pause_until(time, || false)
    }

    /// As [`Connection::pause`], and ends early when `done` says so.
    pub fn pause_until(&mut self, time: Option<Duration>, done: impl Fn() -> bool) -> bool {
        let deadline = time.map(|t| std::time::Instant::now() + t);
        let mut buffer = [0_u8; 1024];
        loop {
            if self.stopped() {
                return false;
            }
            if done() {
                return true;
            }
            let mut tick = Duration::from_millis(20);
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(std::time::Instant::now());
                if left.is_zero() {
                    return true;
                }
                tick = tick.min(left);
            }
            let _ = self
                .stream
                .set_read_timeout(Some(tick.max(Duration::from_millis(1))));
            let read = self.stream.read(&mut buffer);
            let _ = self.stream.set_read_timeout(Some(super::TICK));
            match read {
                Ok(0) => return false,
                Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
                Err(e) if is_tick(e.kind()) => {}
                Err(_) => return false,
            }
        }
    }

    /// Reads some more; none when there will be no more.
    fn fill(&mut self) -> Option<()> {
        let mut buffer = [0_u8; 16 * 1024];
        loop {
            if self.stopped() {
                return None;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => {
                    self.pending.extend_from_slice(&buffer[..n]);
                    return Some(());
                }
                Err(e) if is_tick(e.kind()) => {}
                Err(_) => return None,
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.pending.len() < length {
            self.fill()?;
        }
        Some(self.pending.drain(..length).collect())
    }

    fn read_chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.pending, b"\r\n") {
                    break end;
                }
                self.fill()?;
            };
            let line = String::from_utf8_lossy(&self.pending[..end]).into_owned();
            self.pending.drain(..end + 2);
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            body.extend(self.take(size)?);
            self.take(2)?;
            if size == 0 {
                return Some(body);
            }
        }
    }
}

fn is_tick(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        529 => "Overloaded",
        _ => "Answer",
    }
}
