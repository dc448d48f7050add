//! From the first byte to CONNACK: reads CONNECT, asks the application who it
//! is, and gets the client its session.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::Transport;
use super::client::{Agreed, Client};
use super::driver::farewell;
use super::end::Attachment;
use crate::codec::{
    self, ConnAck, ConnectPacket, DecodeError, Frame, Framed, Protocol, ReasonCode,
};
use crate::hooks::{Attempt, ConnectRefused, ConnectRequest, IdentityConflict};
use crate::limits::Limits;
use crate::link::Link;
use crate::message::Will;
use crate::reasons::Refusal;
use crate::registry::{Claim, Granted, Wish};
use crate::session::{Live, Session};
use crate::shared::Shared;
use crate::stats::count;

/// A client that has been let in, with the bytes on either side.
pub(super) struct Accepted {
    pub(super) client: Client,
    /// What came behind the CONNECT.
    pub(super) input: BytesMut,
    /// The CONNACK.
    pub(super) output: BytesMut,
}

/// Lets the client in, or tells it and the application why not.
pub(super) async fn run<T: Transport>(
    shared: &Arc<Shared>,
    io: &mut T,
    peer: SocketAddr,
) -> Option<Accepted> {
    let mut input = BytesMut::with_capacity(512);
    let limit = shared.limits.connect_timeout;
    let result = tokio::select! {
        biased;
        () = shared.stop.cancelled() => Err(Refusal::ServerStopping),
        admitted = tokio::time::timeout(limit, admit(shared, io, peer, &mut input)) => {
            admitted.unwrap_or(Err(Refusal::ConnectTimeout))
        }
    };
    match result {
        Ok((client, output)) => Some(Accepted {
            client,
            input,
            output,
        }),
        Err(refusal) => {
            refuse(shared, io, peer, &input, refusal).await;
            None
        }
    }
}

async fn admit<T: Transport>(
    shared: &Arc<Shared>,
    io: &mut T,
    peer: SocketAddr,
    input: &mut BytesMut,
) -> Result<(Client, BytesMut), Refusal> {
    let limit = shared.limits.connect_packet_bytes;
    let (frame, size) = loop {
        match codec::next_frame(input, limit)? {
            Framed::Packet(frame, size) => break (frame, size),
            Framed::Incomplete => {}
        }
        // Something else than MQTT is not worth waiting for its end.
        if input.first().is_some_and(|first| *first != 0x10) {
            return Err(DecodeError::Protocol("the first packet is not a CONNECT").into());
        }
        match io.read_buf(input).await {
            Ok(0) | Err(_) => return Err(Refusal::Closed),
            Ok(_) => {}
        }
    };
    let packet = ConnectPacket::decode(frame)?;
    let admitted = let_in(shared, &packet, peer).await?;
    input.advance(size);
    Ok(admitted)
}

async fn let_in(
    shared: &Arc<Shared>,
    packet: &ConnectPacket<'_>,
    peer: SocketAddr,
) -> Result<(Client, BytesMut), Refusal> {
    if packet.terms.authentication_method.is_some() {
        return Err(Refusal::AuthenticationMethod);
    }
    let since = Instant::now();
    let (client_id, assigned) = client_id(packet)?;
    let request = ConnectRequest {
        client_id: &client_id,
        username: packet.username,
        password: packet.password,
        peer,
        protocol: packet.protocol,
        keep_alive_s: packet.keep_alive_s,
        will_topic: packet.will.as_ref().map(|will| will.topic),
    };
    let identity = shared.hooks.authenticate(&request).await;
    let identity = identity.map_err(Refusal::Application)?;
    let number = shared.registry.next_id();
    let protocol = packet.protocol;
    let session = Session::new(number, client_id, identity, peer, protocol, packet.username);
    let session = Arc::new(session);
    let keep_s = keep_s(packet, &shared.limits);
    let mut wish = Wish {
        since,
        clean_start: packet.clean_start,
        keep: Duration::from_secs(keep_s.into()),
        will: packet.will.as_ref().map(Will::of_packet).map(Box::new),
    };
    let link = Arc::new(Link::default());
    let granted = claim(shared, &session, &link, &mut wish).await?;
    for old in &granted.replaced {
        shared.timers.clear(old.id);
        shared.router.end(old, Instant::now());
    }
    shared.timers.clear(granted.mailbox.id);
    let attachment = Attachment::new(shared.clone(), session, granted.mailbox, link);
    shared.hooks.connected(&attachment.session);
    let terms = Terms::of(packet, &shared.limits, keep_s);
    let ack = ConnAck {
        session_present: granted.present,
        assigned_client_id: assigned.then(|| attachment.session.client_id()),
        ..terms.ack
    };
    let mut output = BytesMut::with_capacity(64);
    codec::connack(&mut output, protocol, ReasonCode::SUCCESS.0, &ack);
    let client = Client::new(attachment, terms.agreed, Instant::now());
    Ok((client, output))
}

/// Claims the session until it is ours: each connection in its way is closed
/// and waited for.
async fn claim(
    shared: &Shared,
    session: &Arc<Session>,
    link: &Arc<Link>,
    wish: &mut Wish,
) -> Result<Granted, Refusal> {
    loop {
        let now = Instant::now();
        match shared
            .registry
            .claim(session, link, wish, &shared.limits, now)
        {
            Claim::Granted(granted) => return Ok(granted),
            Claim::Wait(rival) => rival.link.ended().await,
            Claim::HeldOff { holder, began } => {
                if let Some(swaps) = began {
                    report_conflict(shared, session, &holder, swaps);
                }
                return Err(Refusal::HeldOff);
            }
            Claim::Full => return Err(Refusal::TooManySessions),
            Claim::Revoked => return Err(Refusal::Application(ConnectRefused::NotAuthorized)),
            Claim::Stopping => return Err(Refusal::ServerStopping),
        }
    }
}

fn report_conflict(shared: &Shared, session: &Session, holder: &Live, swaps: u32) {
    shared.hooks.identity_conflict(&IdentityConflict {
        identity: session.name(),
        swaps,
        hold_off: shared.limits.hold_off,
        holder: holder.session.peer(),
        challenger: session.peer(),
    });
}

/// The client's identifier, and whether it is one that we made up.
fn client_id(packet: &ConnectPacket<'_>) -> Result<(Arc<str>, bool), Refusal> {
    if !packet.client_id.is_empty() {
        return Ok((packet.client_id.into(), false));
    }
    if packet.protocol == Protocol::V311 && !packet.clean_start {
        return Err(Refusal::EmptyClientId);
    }
    // Keyed at random by the standard library.
    let random = RandomState::new().build_hasher().finish();
    Ok((format!("auto-{random:016x}").into(), true))
}

/// How long the session outlives the connection, in seconds.
fn keep_s(packet: &ConnectPacket<'_>, limits: &Limits) -> u32 {
    let wanted = match packet.protocol {
        Protocol::V311 if packet.clean_start => 0,
        Protocol::V311 => u32::MAX,
        Protocol::V5 => packet.terms.session_expiry_s.unwrap_or(0),
    };
    wanted.min(limits.session_expiry_s)
}

/// What the client asked for against what we allow.
struct Terms {
    agreed: Agreed,
    ack: ConnAck<'static>,
}

impl Terms {
    fn of(packet: &ConnectPacket<'_>, limits: &Limits, keep_s: u32) -> Self {
        let wanted = &packet.terms;
        let longest = limits.keep_alive_s;
        let too_long = packet.keep_alive_s == 0 || packet.keep_alive_s > longest;
        let replaced = packet.protocol == Protocol::V5 && longest > 0 && too_long;
        let keep_alive_s = if replaced {
            longest
        } else {
            packet.keep_alive_s
        };
        let silence = Duration::from_secs(keep_alive_s.into()) * 3 / 2;
        let agreed = Agreed {
            protocol: packet.protocol,
            outbound_inflight: limits.outbound_inflight.min(wanted.receive_maximum).into(),
            maximum_packet_size: wanted
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize),
            topic_aliases: wanted.topic_alias_maximum,
            silence: (!silence.is_zero()).then_some(silence),
            persistent: keep_s > 0,
        };
        let changed = wanted.session_expiry_s.is_some_and(|s| s != keep_s);
        let ack = ConnAck {
            session_expiry_s: changed.then_some(keep_s),
            receive_maximum: Some(limits.inbound_inflight),
            maximum_packet_size: u32::try_from(limits.packet_bytes).ok(),
            topic_alias_maximum: limits.topic_aliases,
            server_keep_alive_s: replaced.then_some(longest),
            ..ConnAck::default()
        };
        Self { agreed, ack }
    }
}

async fn refuse<T: Transport>(
    shared: &Shared,
    io: &mut T,
    peer: SocketAddr,
    input: &BytesMut,
    refusal: Refusal,
) {
    count(&shared.counters.refused, 1);
    let frame = match codec::next_frame(input, shared.limits.connect_packet_bytes) {
        Ok(Framed::Packet(frame, _)) => Some(frame),
        Ok(Framed::Incomplete) | Err(_) => None,
    };
    let packet = frame.and_then(|frame| ConnectPacket::decode(frame).ok());
    let attempt = Attempt {
        peer,
        client_id: packet.as_ref().map(|packet| packet.client_id),
        username: packet.as_ref().and_then(|packet| packet.username),
    };
    shared.hooks.refused(&attempt, &refusal);
    let mut last = BytesMut::new();
    if let Some((protocol, code)) = frame.and_then(|frame| refusal_code(frame, refusal)) {
        codec::connack(&mut last, protocol, code, &ConnAck::default());
    }
    farewell(io, last).await;
}

/// The CONNACK's code, if the client gets one.
fn refusal_code(frame: Frame<'_>, refusal: Refusal) -> Option<(Protocol, u8)> {
    let protocol = codec::peek_protocol(frame)?;
    let reason = refusal.reason()?;
    match (protocol, refusal) {
        (Protocol::V5, _) => Some((protocol, reason.0)),
        // MQTT 3.1.1 has no code for this, and wants the connection closed.
        (
            Protocol::V311,
            Refusal::BadPacket(
                DecodeError::Malformed(_)
                | DecodeError::Protocol(_)
                | DecodeError::TooLarge { .. }
                | DecodeError::InvalidTopic
                | DecodeError::InvalidTopicAlias,
            ),
        ) => None,
        (Protocol::V311, _) => Some((protocol, codec::connack_code_v3(reason))),
    }
}
