//! HTTP/1.1 over one connection that stays open: what it costs is the server's
//! cost, not a client library's.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where the server is and how to be let in.
#[derive(Clone)]
pub(crate) struct Server {
    /// `host:port`
    pub(crate) address: String,
    pub(crate) token: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A response: its status and body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Server,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(server: &Server) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(&server.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            server: server.clone(),
            stream,
            input: Vec::with_capacity(8_192),
        })
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        self.send(&format!("GET {path} HTTP/1.1\r\n"), "").await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Response> {
        self.send(
            &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"),
            body,
        )
        .await
    }

    async fn send(&mut self, start: &str, body: &str) -> anyhow::Result<Response> {
        let Server { address, token } = &self.server;
        let request = format!(
            "{start}Host: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.receive().await
    }

    async fn receive(&mut self) -> anyhow::Result<Response> {
        let head_end = loop {
            if let Some(at) = find(&self.input, b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.input[..head_end]).to_ascii_lowercase();
        self.input.drain(..head_end + 4);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.context("no status line")?;
        let header = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        let body = if header("transfer-encoding") == Some("chunked") {
            self.chunks().await?
        } else {
            let length = header("content-length").map_or(Ok(0), str::parse)?;
            self.take(length).await?
        };
        Ok(Response { status, body })
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_end = loop {
                if let Some(at) = find(&self.input, b"\r\n") {
                    break at;
                }
                self.more().await?;
            };
            let length =
                usize::from_str_radix(std::str::from_utf8(&self.input[..line_end])?.trim(), 16)?;
            self.input.drain(..line_end + 2);
            let chunk = self.take(length + 2).await?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&chunk[..length]);
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.input.len() < length {
            self.more().await?;
        }
        Ok(self.input.drain(..length).collect())
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.input).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
