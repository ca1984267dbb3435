//! The author: writes the script of a seed.

use lockstep_engine::{Decision, Pausable, StoreName};
use lockstep_model::{Id, Key, Table};

use crate::chance::Dice;
use crate::clients::{PARKS, Style};
use crate::faults::FaultPlan;
use crate::machine::Sabotage;
use crate::script::{Change, Life, Restore, Script, Step};
use crate::wishes::{node, operation};

const CLIENTS: u64 = 3;

/// The script of the seed. Sabotage shows best where nothing else goes wrong but kills.
pub(crate) fn script(seed: u64, sabotage: Sabotage) -> Script {
    let dice = Dice::new(seed ^ 0x5eed_0000_0000);
    let plain = sabotage != Sabotage::Nothing;
    let style = if plain || dice.percent(65) { Style::Ordered } else { Style::Anything };
    let served = !plain && dice.percent(40);
    let retains = served && dice.percent(40);
    let rough = dice.below(3);
    let plan = FaultPlan { lost_replies: rough * 2, failures: rough * 3, outages: rough };
    // Where everything is foretold, nobody is given up: transient failures are frequent here, and nobody's fault.
    let few = if seed.is_multiple_of(2) { 2 } else { 3 };
    let max_attempts = if style == Style::Anything && dice.percent(40) { few } else { 1000 };
    let kills = dice.below(4);
    let rot = Dice::new(seed ^ 0x0bad_0000_0000);
    let mut author = Author { dice, rot, style, plain, retains, life: 0 };
    let mut lives: Vec<Life> = (0..kills).map(|n| author.life(n, false)).collect();
    lives.push(author.life(kills, true));
    let batch_ops = [8, 4, 2][usize::try_from(seed % 3).unwrap()];
    Script { dice: seed, style, sabotage, served, retains, max_attempts, batch_ops, plan, lives }
}

struct Author {
    dice: Dice,
    /// What it throws changes nothing else.
    rot: Dice,
    style: Style,
    plain: bool,
    retains: bool,
    life: u64,
}

impl Author {
    fn life(&mut self, life: u64, last: bool) -> Life {
        let dice = &self.dice;
        // Some lives end in the middle of recovery.
        let kill_after = match last {
            true => u64::MAX,
            false if dice.percent(30) => dice.below(30),
            false => dice.below(1500),
        };
        let restore = (self.retains && life > 0 && dice.percent(40)).then(|| {
            let whole = dice.below(3);
            Restore { which: dice.below(100), documents: whole != 0, points: whole != 1 }
        });
        self.life = life;
        let asks = self.dice.below(25);
        let mut actors: Vec<Vec<Step>> = (0..CLIENTS).map(|n| self.client(n, asks)).collect();
        if !self.plain {
            actors.push(self.operator(last));
            if self.style == Style::Anything && self.dice.percent(30) {
                actors.push(self.outsider());
            }
        }
        let rotten = |percent| (!self.plain && self.rot.percent(percent)).then(|| self.rot.below(10_000));
        let rot = rotten(10);
        if let Some(which) = rotten(8).filter(|_| !last) {
            actors.push(vec![Step::Wait { us: self.rot.below(50_000) }, Step::Rot { which }]);
        }
        Life { kill_after, restore, rot, actors }
    }

    fn client(&self, client: u64, asks: u64) -> Vec<Step> {
        let dice = &self.dice;
        let mut steps = Vec::new();
        for n in 0..asks {
            if dice.percent(30) {
                steps.push(Step::Wait { us: dice.below(5_000) });
            }
            if self.style == Style::Anything && dice.percent(15) {
                steps.push(self.decide());
            }
            if dice.percent(4) {
                steps.push(Step::Repeat { which: dice.below(1000), same_body: dice.percent(70) });
            }
            let (op, against) = operation(dice, &format!("{}-{client}-{n}", self.life), self.style);
            let patience_s = dice.percent(60).then(|| dice.below(30));
            steps.push(Step::Ask { op: Box::new(op), against, patience_s });
        }
        steps
    }

    fn decide(&self) -> Step {
        let dice = &self.dice;
        let decision = dice.pick(&[
            Decision::Discard,
            Decision::Rollback,
            Decision::Retry { force: false },
            Decision::Retry { force: true },
        ]);
        Step::Decide { which: dice.below(5), decision }
    }

    fn table(&self) -> Table {
        Table::new(self.dice.pick(&["a", "b", "e", "f"])).unwrap()
    }

    /// Whoever runs the machine, and what befalls it.
    fn operator(&self, last: bool) -> Vec<Step> {
        let dice = &self.dice;
        let mut steps = Vec::new();
        for _ in 0..dice.below(7) {
            steps.push(Step::Wait { us: dice.below(40_000) });
            let store = dice.pick(&["surreal", "qdrant"]);
            let for_a_while = dice.below(3_000);
            if self.retains && dice.percent(30) {
                steps.push(Step::Backup);
                continue;
            }
            match dice.below(100) {
                0..20 => {
                    let what = match dice.below(3) {
                        0 => Pausable::Store(StoreName::Surreal),
                        1 => Pausable::Store(StoreName::Qdrant),
                        _ => Pausable::Table(self.table()),
                    };
                    steps.push(Step::Pause(what.clone()));
                    steps.push(Step::Wait { us: for_a_while * 100 });
                    steps.push(Step::Resume(what));
                }
                20..35 => steps.push(Step::Verify),
                35..45 => steps.push(Step::Checkpoint),
                45..55 => steps.push(Step::FillDisk { ms: for_a_while / 20 }),
                55..65 => {
                    let by = i64::try_from(dice.below(7_200_000_000)).unwrap();
                    steps.push(Step::JumpClock { by_us: by - 3_600_000_000 });
                }
                65..73 => steps.push(Step::LoseConnection { store }),
                73..80 => steps.push(Step::Misconfigure { store, ms: for_a_while }),
                80..87 => steps.push(Step::BreakTable { table: self.table(), ms: for_a_while }),
                97..100 if !last => steps.push(Step::TakeOver),
                _ => {}
            }
        }
        steps
    }

    /// Somebody who writes what is not theirs.
    fn outsider(&self) -> Vec<Step> {
        let dice = &self.dice;
        let mut steps = Vec::new();
        for _ in 0..dice.below(12) {
            steps.push(Step::Wait { us: dice.below(30_000) });
            let parks = || Key::new(Table::new(PARKS).unwrap(), Id::Int(i64::try_from(dice.below(3)).unwrap()));
            let key = if dice.percent(20) { parks() } else { node(dice) };
            let x = i64::try_from(dice.below(1000)).unwrap();
            let change = dice.pick(&[
                Change::Edit(x),
                Change::EditLast(x),
                Change::EditLast(x),
                Change::Newer(x),
                Change::Remove,
                Change::Point(x),
                Change::RemovePoint,
            ]);
            steps.push(Step::Outside { key, change });
        }
        steps
    }
}
