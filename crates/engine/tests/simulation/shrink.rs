//! Makes a script that fails shorter, as long as it fails: fewer lives, fewer steps, fewer faults.
//!
//! Taking something away moves the dice of everything after it, so that what fails in the end may not be what failed first. It is
//! a fault all the same, and easier to read.

use lockstep_model::Action;

use crate::faults::FaultPlan;
use crate::script::{Script, Step};

/// So many scripts are tried.
const TRIES: u32 = 600;

/// The shortest script that was found to fail, and how it does.
pub(crate) fn shrink(script: Script, why: String, fails: impl Fn(&Script) -> Option<String>) -> (Script, String) {
    let mut shrinking = Shrinking { script, why, left: TRIES, fails };
    while shrinking.left > 0 && shrinking.once() {}
    (shrinking.script, shrinking.why)
}

struct Shrinking<F> {
    script: Script,
    why: String,
    left: u32,
    fails: F,
}

impl<F: Fn(&Script) -> Option<String>> Shrinking<F> {
    /// Keeps the shorter script if it fails, too.
    fn attempt(&mut self, change: impl FnOnce(&mut Script)) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let mut shorter = self.script.clone();
        change(&mut shorter);
        match (self.fails)(&shorter) {
            Some(why) => {
                (self.script, self.why) = (shorter, why);
                true
            }
            None => false,
        }
    }

    /// Everything once; tells whether anything could go.
    fn once(&mut self) -> bool {
        let mut progress = false;
        // The last life is the one that is reckoned.
        for life in (0..self.script.lives.len() - 1).rev() {
            progress |= self.attempt(|script| drop(script.lives.remove(life)));
        }
        progress |= self.milder();
        for life in 0..self.script.lives.len() {
            for actor in 0..self.script.lives[life].actors.len() {
                progress |= self.fewer_steps(life, actor);
            }
            progress |=
                self.script.lives[life].restore.is_some() && self.attempt(|script| script.lives[life].restore = None);
        }
        progress
    }

    fn milder(&mut self) -> bool {
        let mut progress = false;
        let FaultPlan { lost_replies, failures, outages } = self.script.plan;
        progress |= lost_replies > 0 && self.attempt(|script| script.plan.lost_replies = 0);
        progress |= failures > 0 && self.attempt(|script| script.plan.failures = 0);
        progress |= outages > 0 && self.attempt(|script| script.plan.outages = 0);
        // Only a served store keeps what ended, so that it may come back as an older copy.
        progress |= self.script.served && !self.script.retains && self.attempt(|script| script.served = false);
        progress
    }

    /// Halves, quarters and so on of what somebody does, then members of groups.
    fn fewer_steps(&mut self, life: usize, actor: usize) -> bool {
        let mut progress = false;
        let mut size = self.script.lives[life].actors[actor].len();
        while size > 0 {
            let mut at = 0;
            while at < self.script.lives[life].actors[actor].len() {
                let end = (at + size).min(self.script.lives[life].actors[actor].len());
                if self.attempt(|script| drop(script.lives[life].actors[actor].drain(at..end))) {
                    progress = true;
                } else {
                    at = end;
                }
                if self.left == 0 {
                    return progress;
                }
            }
            size /= 2;
        }
        for step in 0..self.script.lives[life].actors[actor].len() {
            progress |= self.fewer_members(life, actor, step);
        }
        progress
    }

    fn fewer_members(&mut self, life: usize, actor: usize, step: usize) -> bool {
        let Step::Ask { op, .. } = &self.script.lives[life].actors[actor][step] else { return false };
        let Action::Atomic(members) = &op.action else { return false };
        let count = members.len();
        let mut progress = false;
        for member in (0..count).rev() {
            progress |= self.attempt(|script| {
                if let Step::Ask { op, .. } = &mut script.lives[life].actors[actor][step]
                    && let Action::Atomic(members) = &mut op.action
                    && members.len() > 1
                {
                    members.remove(member);
                    // Conditions stand by their member's place.
                    let kept = op.members.iter().filter(|(place, _)| **place != member);
                    op.members = kept.map(|(place, on)| (place - usize::from(*place > member), *on)).collect();
                }
            });
            if self.left == 0 {
                break;
            }
        }
        progress
    }
}
