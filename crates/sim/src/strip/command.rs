//! How a strip obeys commands: never one twice, never one late, and every
//! verdict is remembered so that a repeated command gets the same answer.
//!
//! ```text
//! received ──▶ refused (retained, not ours, no JSON)
//!        ├──▶ known ──▶ the same verdict again, or nothing while under way
//!        ├──▶ expired ──▶ failed
//!        └──▶ on/off ──▶ success        cycle ──▶ off … on ──▶ success
//! ```

use std::collections::VecDeque;

use dormouse_core::ids::{CommandId, SocketId};
use dormouse_core::topic::Channel;
use dormouse_core::wire::{AckBody, AckStatus, Action, CommandBody};

use super::report::encode;
use super::{Later as StripLater, Outgoing, Strip};
use crate::clock::Now;
use crate::fault::Acks;

/// How many commands a strip remembers; the oldest is forgotten first.
const REMEMBERED: usize = 32;
/// How long `cycle` stays off where the command does not say.
const OFF_MS: u32 = 3_000;
/// The longest a strip will stay off for `cycle`.
const OFF_MAX_MS: u32 = 60_000;

/// The commands a strip remembers since its start.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// With `None` while under way.
    recent: VecDeque<(CommandId, Option<Verdict>)>,
    executed: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Verdict {
    cmd_id: CommandId,
    socket: SocketId,
    status: AckStatus,
    reason: Option<&'static str>,
    on: Option<bool>,
}

impl Verdict {
    fn success(body: &CommandBody, on: Option<bool>) -> Self {
        Self {
            cmd_id: body.cmd_id,
            socket: body.socket_id,
            status: AckStatus::Success,
            reason: None,
            on,
        }
    }
}

/// The part of a command that happens later.
#[derive(Debug)]
pub(super) enum Later {
    /// The end of a cycle: on again, then the ack.
    CycleOn { done: Verdict, acks: Acks },
    /// An ack that was held back.
    Ack(Verdict),
}

/// What came of a message on `cmd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Obeyed, or begun.
    Executed,
    /// Known already: answered, not obeyed again.
    Repeated,
    /// Answered with `failed`.
    Declined,
    /// Not a command for this strip: nothing was done or answered.
    Refused,
}

impl Strip {
    /// Takes a message that came on `cmd`.
    pub(crate) fn command(
        &mut self,
        payload: &[u8],
        retained: bool,
        acks: Acks,
        now: Now,
    ) -> (Received, Vec<Outgoing>) {
        let Ok(body) = serde_json::from_slice::<CommandBody>(payload) else {
            return (Received::Refused, Vec::new());
        };
        // A retained command is one that somebody meant for another day.
        if retained || body.device_id != self.build.id {
            return (Received::Refused, Vec::new());
        }
        if let Some((_, verdict)) = self
            .commands
            .recent
            .iter()
            .find(|(id, _)| *id == body.cmd_id)
        {
            let again = verdict.clone().map(|verdict| self.ack(&verdict));
            return (Received::Repeated, again.into_iter().collect());
        }
        self.remember(body.cmd_id);
        if let Some(reason) = self.declines(&body, acks, now) {
            let on = self.is_on(body.socket_id);
            let declined = Verdict {
                status: AckStatus::Failed,
                reason: Some(reason),
                ..Verdict::success(&body, on)
            };
            return (Received::Declined, self.settle(declined, Acks::Prompt, now));
        }
        (Received::Executed, self.obey(&body, acks, now))
    }

    /// Why the strip will not obey, if it will not.
    fn declines(&self, body: &CommandBody, acks: Acks, now: Now) -> Option<&'static str> {
        if self
            .own_unix_ms(now)
            .is_some_and(|own| own > body.expires_at)
        {
            Some("expired")
        } else if !self.has_socket(body.socket_id) {
            Some("unknown-socket")
        } else if acks == Acks::Failed {
            Some("relay-stuck")
        } else {
            None
        }
    }

    fn obey(&mut self, body: &CommandBody, acks: Acks, now: Now) -> Vec<Outgoing> {
        self.commands.executed += 1;
        self.step(now);
        let mut reports = self.supersede_cycles(body.socket_id, now);
        match body.action {
            Action::On | Action::Off => {
                self.switch(body.socket_id, body.action == Action::On);
                let done = Verdict::success(body, self.is_on(body.socket_id));
                reports.extend(self.settle(done, acks, now));
            }
            Action::Cycle => {
                self.switch(body.socket_id, false);
                let off_ms = body.off_ms.unwrap_or(OFF_MS).min(OFF_MAX_MS);
                let done = Verdict::success(body, Some(true));
                let later = StripLater::Command(Later::CycleOn { done, acks });
                self.after(u64::from(off_ms), later, now);
            }
        }
        reports.push(self.status(now));
        reports
    }

    /// How many commands were obeyed since the last start.
    pub(crate) fn executed(&self) -> u64 {
        self.commands.executed
    }

    pub(super) fn continue_command(&mut self, later: Later, now: Now) -> Vec<Outgoing> {
        match later {
            Later::Ack(verdict) => vec![self.ack(&verdict)],
            Later::CycleOn { done, acks } => {
                self.step(now);
                self.switch(done.socket, true);
                let mut reports = self.settle(done, acks, now);
                reports.push(self.status(now));
                reports
            }
        }
    }

    /// Ends cycles that a newer command for the same socket makes pointless.
    fn supersede_cycles(&mut self, target: SocketId, now: Now) -> Vec<Outgoing> {
        let mut ended = Vec::new();
        self.later.retain(|(_, later)| match later {
            StripLater::Command(Later::CycleOn { done, .. })
                if done.socket == target || done.socket.is_strip() || target.is_strip() =>
            {
                ended.push(done.clone());
                false
            }
            StripLater::Command(_) | StripLater::Press(_) => true,
        });
        ended
            .into_iter()
            .flat_map(|done| {
                let on = self.is_on(done.socket);
                let reason = Some("superseded");
                let verdict = Verdict {
                    status: AckStatus::Failed,
                    reason,
                    on,
                    ..done
                };
                self.settle(verdict, Acks::Prompt, now)
            })
            .collect()
    }

    /// Remembers the verdict and sends its ack in the way that `acks` says.
    fn settle(&mut self, verdict: Verdict, acks: Acks, now: Now) -> Vec<Outgoing> {
        if let Some(entry) = self
            .commands
            .recent
            .iter_mut()
            .find(|(id, _)| *id == verdict.cmd_id)
        {
            entry.1 = Some(verdict.clone());
        }
        match acks {
            Acks::Prompt | Acks::Failed => vec![self.ack(&verdict)],
            Acks::Duplicate => {
                let ack = self.ack(&verdict);
                vec![ack.clone(), ack]
            }
            Acks::Missing => Vec::new(),
            Acks::Late(by) => {
                let wait_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                self.after(wait_ms, StripLater::Command(Later::Ack(verdict)), now);
                Vec::new()
            }
        }
    }

    fn ack(&mut self, verdict: &Verdict) -> Outgoing {
        let body = AckBody {
            cmd_id: verdict.cmd_id,
            status: verdict.status,
            reason: verdict.reason.map(str::to_owned),
            socket_id: verdict.socket,
            on: verdict.on,
            boot: Some(self.boot),
            seq: Some(self.next_seq()),
        };
        Outgoing {
            channel: Channel::Ack,
            payload: encode(&body),
        }
    }

    fn remember(&mut self, id: CommandId) {
        if self.commands.recent.len() == REMEMBERED {
            self.commands.recent.pop_front();
        }
        self.commands.recent.push_back((id, None));
    }

    fn has_socket(&self, id: SocketId) -> bool {
        id.is_strip() || self.sockets.iter().any(|socket| socket.id == id)
    }

    fn switch(&mut self, id: SocketId, on: bool) {
        for socket in self
            .sockets
            .iter_mut()
            .filter(|socket| id.is_strip() || socket.id == id)
        {
            socket.on = on;
        }
    }

    /// Whether the socket is on; for the whole strip, only where all agree.
    fn is_on(&self, id: SocketId) -> Option<bool> {
        let mut states = self
            .sockets
            .iter()
            .filter(|socket| id.is_strip() || socket.id == id)
            .map(|socket| socket.on);
        let first = states.next()?;
        states.all(|on| on == first).then_some(first)
    }
}
