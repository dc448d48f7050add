//! SUBSCRIBE and UNSUBSCRIBE of a connected client.

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::client::Client;
use crate::codec::{
    self, DecodeError, ReasonCode, RetainHandling, SubscribeOptions, SubscribePacket,
    UnsubscribePacket,
};
use crate::reasons::Disconnect;
use crate::stats::count;
use crate::subscriptions::Subscriber;
use crate::topic::Filter;

/// One code per filter of a packet.
type Codes = SmallVec<[u8; 8]>;

impl Client {
    pub(super) fn subscribe(
        &mut self,
        packet: SubscribePacket<'_>,
        out: &mut BytesMut,
        now: Instant,
    ) -> Result<(), Disconnect> {
        let mut codes = Codes::new();
        for (text, options) in packet.filters() {
            let reason = self.subscribe_one(text, options, packet.subscription_id, now)?;
            codes.push(codec::suback_code(reason, self.agreed.protocol));
        }
        codec::suback(out, packet.packet_id, &codes, self.agreed.protocol);
        Ok(())
    }

    fn subscribe_one(
        &self,
        text: &str,
        options: SubscribeOptions,
        id: Option<u32>,
        now: Instant,
    ) -> Result<ReasonCode, Disconnect> {
        let shared = &self.attachment.shared;
        let mailbox = &self.attachment.mailbox;
        let Ok(filter) = Filter::parse(text) else {
            return Ok(ReasonCode::TOPIC_FILTER_INVALID);
        };
        if filter.group.is_some() && options.no_local {
            return Err(DecodeError::Protocol("a shared subscription with no-local").into());
        }
        let session = &self.attachment.session;
        if !shared.hooks.authorize_subscribe(session, filter.pattern) {
            count(&shared.counters.denied_subscribe, 1);
            return Ok(ReasonCode::NOT_AUTHORIZED);
        }
        {
            let mut state = mailbox.lock();
            let full = state.filters.len() >= shared.limits.subscriptions;
            if full && !state.filters.contains(text) {
                return Ok(ReasonCode::QUOTA_EXCEEDED);
            }
            state.filters.insert(text.into());
        }
        let subscriber = Subscriber {
            mailbox: mailbox.clone(),
            options,
            id,
        };
        let is_new = shared.router.subscriptions.add(filter, subscriber);
        shared.hooks.subscribed(session, filter.pattern);
        let wants_retained = match options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if wants_retained && filter.group.is_none() {
            shared
                .router
                .send_retained(filter.pattern, mailbox, options.qos, id, now);
            self.attachment.link.raise();
        }
        Ok(ReasonCode(options.qos.level()))
    }

    pub(super) fn unsubscribe(&mut self, packet: UnsubscribePacket<'_>, out: &mut BytesMut) {
        let mut codes = Codes::new();
        for text in packet.filters() {
            codes.push(self.unsubscribe_one(text).0);
        }
        codec::unsuback(out, packet.packet_id, &codes, self.agreed.protocol);
    }

    fn unsubscribe_one(&self, text: &str) -> ReasonCode {
        let Ok(filter) = Filter::parse(text) else {
            return ReasonCode::TOPIC_FILTER_INVALID;
        };
        let mailbox = &self.attachment.mailbox;
        mailbox.lock().filters.remove(text);
        let subscriptions = &self.attachment.shared.router.subscriptions;
        if subscriptions.remove(filter, mailbox.id) {
            ReasonCode::SUCCESS
        } else {
            ReasonCode::NO_SUBSCRIPTION_EXISTED
        }
    }
}
