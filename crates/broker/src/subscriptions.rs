//! Who has subscribed to what, and who gets a message.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use smallvec::{SmallVec, smallvec};

use crate::codec::{QoS, SubscribeOptions};
use crate::message::Stored;
use crate::session::{Mailbox, Offer, Outgoing, SubscriptionIds};
use crate::topic::Filter;
use crate::topic_map::TopicMap;

/// One session's subscription to one filter.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) options: SubscribeOptions,
    pub(crate) id: Option<u32>,
}

/// Most filters have one subscriber.
type Members = SmallVec<[Subscriber; 1]>;

/// All subscriptions to one filter.
#[derive(Debug, Default)]
struct Entry {
    plain: Members,
    groups: Vec<Group>,
}

/// The members of a shared subscription, who get its messages in turn.
#[derive(Debug)]
struct Group {
    name: Arc<str>,
    members: Members,
    turn: AtomicUsize,
}

impl Group {
    /// The members, from the one whose turn it is: connected ones first.
    fn in_turn(&self) -> impl Iterator<Item = &Subscriber> {
        let start = self.turn.fetch_add(1, Relaxed) % self.members.len().max(1);
        let (late, early) = self.members.split_at(start.min(self.members.len()));
        let all = early.iter().chain(late);
        let here = all.clone().filter(|member| member.mailbox.is_live());
        here.chain(all.filter(|member| !member.mailbox.is_live()))
    }

    /// Hands a message to the first member that takes it.
    fn deliver(&self, message: &Arc<Stored>, post: &mut impl Post) {
        let mut last = None;
        for member in self.in_turn() {
            let mut outgoing = merge(message, &[member]);
            outgoing.group = Some(self.name.clone());
            let offer = post.offer(&member.mailbox, outgoing);
            last = Some(offer);
            if matches!(offer, Offer::Live | Offer::Queued) {
                break;
            }
        }
        if let Some(offer) = last {
            post.count(offer);
        }
    }
}

/// Brings messages to sessions, and counts what became of them.
pub(crate) trait Post {
    /// Offers a message to a session.
    fn offer(&mut self, mailbox: &Mailbox, outgoing: Outgoing) -> Offer;

    /// That is what became of it in the end.
    fn count(&mut self, offer: Offer);
}

/// The subscriptions of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    map: RwLock<TopicMap<Entry>>,
}

impl Subscriptions {
    /// Adds or replaces a subscription; true if it is new.
    pub(crate) fn add(&self, filter: Filter<'_>, subscriber: Subscriber) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let entry = map.entry(filter.pattern);
        let Some(name) = filter.group else {
            return put(&mut entry.plain, subscriber);
        };
        if let Some(group) = entry.groups.iter_mut().find(|group| &*group.name == name) {
            return put(&mut group.members, subscriber);
        }
        entry.groups.push(Group {
            name: name.into(),
            members: smallvec![subscriber],
            turn: AtomicUsize::new(0),
        });
        true
    }

    /// Takes a subscription out; true if there was one.
    pub(crate) fn remove(&self, filter: Filter<'_>, mailbox: u64) -> bool {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = map.get_mut(filter.pattern) else {
            return false;
        };
        let removed = match filter.group {
            None => take(&mut entry.plain, mailbox),
            Some(name) => entry
                .groups
                .iter_mut()
                .find(|group| &*group.name == name)
                .is_some_and(|group| take(&mut group.members, mailbox)),
        };
        entry.groups.retain(|group| !group.members.is_empty());
        if entry.plain.is_empty() && entry.groups.is_empty() {
            map.remove(filter.pattern);
        }
        removed
    }

    /// Whether anyone has subscribed to a topic.
    pub(crate) fn any(&self, topic: &str) -> bool {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.any_match(topic, &mut |_| true)
    }

    /// Hands a message to each session that gets it, once: several subscriptions
    /// of one session make one delivery with the highest QoS.
    pub(crate) fn deliver(&self, message: &Arc<Stored>, post: &mut impl Post) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: SmallVec<[&Subscriber; 8]> = SmallVec::new();
        let mut groups: SmallVec<[&Group; 2]> = SmallVec::new();
        map.for_each_match(&message.topic, |entry| {
            for subscriber in &entry.plain {
                if !(subscriber.options.no_local && subscriber.mailbox.id == message.from) {
                    found.push(subscriber);
                }
            }
            groups.extend(&entry.groups);
        });
        found.sort_by_key(|subscriber| subscriber.mailbox.id);
        for same in found.chunk_by(|a, b| a.mailbox.id == b.mailbox.id) {
            if let Some(first) = same.first() {
                let offer = post.offer(&first.mailbox, merge(message, same));
                post.count(offer);
            }
        }
        for group in groups {
            group.deliver(message, post);
        }
    }

    /// Hands a message that a member of a group has left behind to another one.
    pub(crate) fn deliver_to_group(&self, message: &Arc<Stored>, name: &str, post: &mut impl Post) {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.any_match(&message.topic, &mut |entry| {
            let group = entry.groups.iter().find(|group| &*group.name == name);
            if let Some(group) = group {
                group.deliver(message, post);
            }
            group.is_some()
        });
    }
}

/// The one delivery that answers all of a session's matching subscriptions.
fn merge(message: &Arc<Stored>, same: &[&Subscriber]) -> Outgoing {
    let wanted = same.iter().map(|subscriber| subscriber.options.qos).max();
    let as_published = same
        .iter()
        .any(|subscriber| subscriber.options.retain_as_published);
    Outgoing {
        message: message.clone(),
        qos: message.qos.min(wanted.unwrap_or(QoS::AtMostOnce)),
        retain: message.retain && as_published,
        ids: same
            .iter()
            .filter_map(|subscriber| subscriber.id)
            .collect::<SubscriptionIds>(),
        group: None,
    }
}

/// Adds or replaces a session's subscription; true if it is new.
fn put(members: &mut Members, subscriber: Subscriber) -> bool {
    let id = subscriber.mailbox.id;
    match members.iter_mut().find(|member| member.mailbox.id == id) {
        Some(member) => {
            *member = subscriber;
            false
        }
        None => {
            members.push(subscriber);
            true
        }
    }
}

/// Takes a session's subscription out; true if there was one.
fn take(members: &mut Members, mailbox: u64) -> bool {
    let found = members
        .iter()
        .position(|member| member.mailbox.id == mailbox);
    if let Some(index) = found {
        members.remove(index);
    }
    found.is_some()
}
