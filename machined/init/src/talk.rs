//! The talk with machined: its requests, and what PID 1 makes of them. Called by the loop, every turn.

use crate::Pid1;
use crate::outbox::Outbox;
use crate::store::Full;
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;
use sys::link::{Action, Event, Kind, Refusal, Request};

/// Requests answered in one turn, so that a talkative machined cannot hold PID 1.
const REQUESTS: usize = 256;

impl Pid1 {
    /// Sends what waits and answers requests, as long as machined takes the answers.
    pub(crate) fn converse(&mut self, now: Instant) -> Option<Action> {
        for _ in 0..REQUESTS {
            let life = self.brain.life().filter(|life| !life.deaf)?;
            if let Err(e) = life.outbox.send(&life.link, &mut self.store, &mut self.statuses) {
                life.outbox = Outbox::default();
                life.deaf = true;
                // Dying is no news: its end is. Otherwise it waits for an answer that never comes.
                if e.kind() != io::ErrorKind::BrokenPipe {
                    self.console.warn(format_args!("machined cannot be told what it asked, and is killed: {e}"));
                    life.kill(now, false);
                }
                return None;
            }
            if life.outbox.busy() {
                return None;
            }
            match self.request(now) {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(action) => return action,
            }
        }
        None
    }

    /// Reads what a dead machined and its children had sent: nobody waits for answers.
    pub(crate) fn hear_out(&mut self, now: Instant) -> Option<Action> {
        loop {
            self.brain.life()?.outbox = Outbox::default();
            if let ControlFlow::Break(action) = self.request(now) {
                return action;
            }
        }
    }

    /// Takes one request, if there is one; breaks when there is none, or with the action of a Stop.
    fn request(&mut self, now: Instant) -> ControlFlow<Option<Action>> {
        let Some(life) = self.brain.life() else { return ControlFlow::Break(None) };
        let (request, descriptor) = match life.link.try_recv() {
            Ok(Some(message)) => message,
            Ok(None) => {
                life.deaf = true;
                return ControlFlow::Break(None);
            }
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                self.console.warn(format_args!("machined sent what init does not understand: {e}"));
                return ControlFlow::Continue(());
            }
            Err(_) => return ControlFlow::Break(None),
        };
        match request {
            Request::Heartbeat => life.heard(now),
            Request::Put { name, kind } => {
                life.buttons |= kind == Kind::Button;
                let answer = match descriptor.map(|d| self.store.put(name, kind, d)) {
                    Some(Ok(())) => Event::Done,
                    Some(Err(Full)) => Event::Refused { why: Refusal::Full },
                    None => Event::Refused { why: Refusal::NoDescriptor },
                };
                life.outbox.answer(answer);
            }
            Request::Drop { name } => {
                self.store.remove(&name);
                life.outbox.answer(Event::Done);
            }
            Request::Fetch => {
                let end = self.brain.fetched();
                if let Some(life) = self.brain.life() {
                    life.outbox.fetch(end, &mut self.statuses);
                }
            }
            Request::Register { pid } => {
                if !self.statuses.register(pid) {
                    self.console.warn(format_args!("no room to remember process {pid}; its end may be lost"));
                }
            }
            Request::Forget { pid } => self.statuses.forget(pid),
            Request::Standing { standing } => self.standing.told(standing, now),
            Request::Stopping { action } => {
                let action = self.stop(action, now);
                if let Some(life) = self.brain.life() {
                    life.outbox.answer(Event::Stands { action });
                }
            }
            Request::Stop { action } => return ControlFlow::Break(Some(self.stop(action, now))),
        }
        ControlFlow::Continue(())
    }
}
