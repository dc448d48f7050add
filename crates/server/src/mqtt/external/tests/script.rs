//! A broker that does as it is told.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What it does beyond letting everybody in.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    /// The reason code for each filter that ends so.
    pub(super) denied: Vec<(String, u8)>,
    /// Topics and bodies for whoever subscribes to topics that begin with `$SYS`.
    pub(super) says: Vec<(String, String)>,
    /// How many connections are told first that it is busy.
    pub(super) busy: usize,
}

/// Starts it and returns its port.
pub(super) async fn play(script: Script) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = Arc::new(script);
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            count += 1;
            if count <= script.busy {
                packet(&mut stream).await;
                stream.write_all(&[0x20, 3, 0, 0x89, 0]).await.unwrap();
                continue;
            }
            tokio::spawn(serve(stream, Arc::clone(&script)));
        }
    });
    port
}

async fn serve(mut stream: TcpStream, script: Arc<Script>) {
    while let Some((kind, body)) = packet(&mut stream).await {
        match kind >> 4 {
            1 => stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap(),
            8 => {
                let filters = filters(&body[3..]);
                let mut answer = vec![0x90, 3 + filters.len() as u8, body[0], body[1], 0];
                for filter in &filters {
                    let denied = script.denied.iter().find(|it| filter.ends_with(&it.0));
                    answer.push(denied.map_or(1, |it| it.1));
                }
                stream.write_all(&answer).await.unwrap();
                if filters.iter().any(|it| it.starts_with("$SYS")) {
                    for (topic, body) in &script.says {
                        stream.write_all(&publish(topic, body)).await.unwrap();
                    }
                }
            }
            10 => stream
                .write_all(&[0xB0, 4, body[0], body[1], 0, 0])
                .await
                .unwrap(),
            12 => stream.write_all(&[0xD0, 0]).await.unwrap(),
            14 => return,
            _ => {}
        }
    }
}

async fn packet(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut len, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        len |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

fn filters(mut rest: &[u8]) -> Vec<String> {
    let mut filters = Vec::new();
    while rest.len() > 2 {
        let len = usize::from(rest[0]) << 8 | usize::from(rest[1]);
        filters.push(String::from_utf8(rest[2..2 + len].to_vec()).unwrap());
        rest = &rest[3 + len..];
    }
    filters
}

/// A PUBLISH of QoS 0 without properties.
fn publish(topic: &str, body: &str) -> Vec<u8> {
    let len = 2 + topic.len() + 1 + body.len();
    let mut packet = vec![0x30, (len % 128) as u8 | 0x80, (len / 128) as u8];
    packet.extend([(topic.len() >> 8) as u8, topic.len() as u8]);
    packet.extend(topic.as_bytes());
    packet.push(0);
    packet.extend(body.as_bytes());
    packet
}
