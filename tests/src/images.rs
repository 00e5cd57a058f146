//! Power cuts: what a disk may have after one is made from a record of a real run, opened, and judged.
//!
//! A child works on real RocksDB while a preloaded library writes down what it asks the file system to change, and what it
//! says. From that record the disk is made as it may be after a cut at any place. Everything that was acknowledged before the
//! cut has to be there, or the image is refused by a typed error.

pub mod damage;
pub mod disk;
pub mod judge;
pub mod recording;
pub mod told;
pub mod work;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use self::damage::Damage;
use self::disk::{Bytes, Cut, Device, Disk, Names};
use self::judge::{Found, Loss, Offence, Said};
use self::recording::{Recording, compiled, environment};
use self::told::{Batches, FILE};
use crate::chance::Chance;
use crate::kill::pipe::Line;
use crate::kill::process::Orders;
use crate::until::Until;

/// What happens to the disk at a cut.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    bytes: Bytes,
    names: Names,
    damage: Option<Damage>,
}

const fn honest(name: &'static str, bytes: Bytes, names: Names) -> Class {
    Class { name, bytes, names, damage: None }
}

const fn dishonest(name: &'static str, damage: Damage) -> Class {
    Class { name, bytes: Bytes::Kept, names: Names::Kept, damage: Some(damage) }
}

/// All classes: first those of an honest device.
pub const CLASSES: [Class; 18] = [
    honest("process death", Bytes::Kept, Names::Kept),
    honest("nothing unsynced", Bytes::Gone, Names::Gone),
    honest("no unsynced bytes", Bytes::Gone, Names::Kept),
    honest("no unsynced names", Bytes::Kept, Names::Gone),
    honest("torn", Bytes::Torn, Names::Kept),
    honest("torn, names too", Bytes::Torn, Names::Torn),
    honest("torn, some names", Bytes::Torn, Names::Some),
    honest("some pages", Bytes::Pages(4096), Names::Torn),
    honest("some sectors", Bytes::Pages(512), Names::Kept),
    honest("some pages and names", Bytes::Pages(4096), Names::Some),
    dishonest("flipped bit", Damage::Bit),
    dishonest("flipped bit of the log", Damage::BitOfLog),
    dishonest("length in the log", Damage::Length),
    dishonest("deleted file", Damage::Deleted),
    dishonest("swapped files", Damage::Swapped),
    dishonest("older file", Damage::Older),
    dishonest("shorter file", Damage::Shorter),
    dishonest("zeroed page", Damage::Zeroed),
];

impl Tally {
    /// Refusals of images, by kind.
    pub fn refused(&self) -> BTreeMap<&str, u64> {
        let mut kinds = BTreeMap::new();
        for (kind, times) in self.classes.values().flat_map(|class| &class.refused) {
            *kinds.entry(kind.as_str()).or_default() += times;
        }
        kinds
    }
}

impl Class {
    fn loss(&self) -> Loss {
        match (self.damage, self.bytes, self.names) {
            (Some(_), ..) => Loss::Anything,
            (None, Bytes::Kept, Names::Kept) => Loss::Process,
            (None, ..) => Loss::Power,
        }
    }
}

/// One image: where the cut is, what happens, and which chance decides about the rest.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Before this operation.
    pub at: usize,
    /// Of [`CLASSES`].
    pub class: usize,
    /// Of the chance.
    pub seed: u64,
}

/// A recorded run.
pub struct Run {
    recording: Recording,
    batches: Batches,
    said: Said,
    root: PathBuf,
    told: Vec<u8>,
}

/// What was seen of one class.
#[derive(Clone, Debug, Default)]
pub struct OfClass {
    /// Images.
    pub images: u64,
    /// Images that were refused, by the kind of refusal.
    pub refused: BTreeMap<String, u64>,
    /// Images of a device that is not honest where something behind the last watermark is gone.
    pub behind: u64,
    /// Images with records in quarantine.
    pub quarantined: u64,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Images that were judged.
    pub images: u64,
    /// Of them, those that an engine drained as well.
    pub drained: u64,
    /// Runs that were recorded.
    pub runs: u64,
    /// File operations of these runs, and so many places for a cut.
    pub operations: u64,
    /// Jobs that these runs were told to be accepted, by a durable queue.
    pub acknowledged: u64,
    /// Jobs that had to be there, added up over all images.
    pub demanded: u64,
    /// Jobs that were not.
    pub missing: u64,
    /// By class.
    pub classes: BTreeMap<&'static str, OfClass>,
}

/// An image that was judged wrong, or at which something panicked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What is wrong.
    pub what: String,
    /// How to see it again: arguments of the program `torture`.
    pub repeat: String,
}

/// Where images are made: in memory, where the system has such a place.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("windlass-").tempdir_in(place).expect("a temporary directory")
}

/// Compiles the recorder.
pub fn recorder(folder: &Path) -> PathBuf {
    compiled(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/images/record.c"), folder)
}

impl Run {
    /// Lets a child work, and records it. Also gives what is really on its disk at the end.
    ///
    /// # Panics
    /// The child fails.
    pub fn record(library: &Path, seed: u64) -> (Self, Disk) {
        let folder = scratch();
        let [root, log, told] = ["disk", "log", "told"].map(|name| folder.path().join(name));
        fs::create_dir(&root).expect("a folder can be made");
        let mut orders = Orders::new("record", 1, &root.join("journal"));
        orders.seed = seed;
        let [preload, below, to] = environment(library, &root, &log);
        let (lines, status) = orders.spawn_with(&[preload, below, to, (FILE, &told)]).bury();
        assert!(status.success() && lines.contains(&Line::Bye), "the recorded child: {status}, {:?}", lines.last());
        let read = |path: &Path| fs::read(path).expect("what the child wrote can be read");
        (Self::of(read(&log), read(&told), root.clone()), Disk::read(&root))
    }

    fn of(log: Vec<u8>, told: Vec<u8>, root: PathBuf) -> Self {
        let recording = Recording::read(log, &root);
        let said = Said::of(&recording);
        Self { batches: Batches::read(&told), said, recording, root, told }
    }

    /// A run that was kept.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn kept(folder: &Path) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).expect("a kept run can be read");
        let root = String::from_utf8(read("root")).expect("a path that is text");
        Self::of(read("log"), read("told"), root.into())
    }

    /// Keeps it, to be judged again.
    fn keep(&self) -> PathBuf {
        let folder = tempfile::Builder::new().prefix("windlass-run-").tempdir().expect("a temporary directory").keep();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("a run can be kept");
        write("log", self.recording.log());
        write("told", &self.told);
        write("root", self.root.to_str().expect("a path that is text").as_bytes());
        folder
    }

    /// Its operations: cuts are before each of them, and behind the last.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Batches that the journal was given.
    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Makes an image of it and judges it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn judge(&self, device: &Device<'_>, recipe: Recipe, drain: bool, tally: &mut Tally) -> Result<(), Failure> {
        let class = CLASSES[recipe.class];
        let cut = Cut { at: recipe.at, bytes: class.bytes, names: class.names, seed: recipe.seed };
        let mut disk = device.after(cut);
        let mut done = String::from("as the cut left it");
        if let Some(damage) = class.damage {
            // There is nothing yet that could be damaged.
            let Some(what) = damage.apply(&mut disk, device, cut) else { return Ok(()) };
            done = what;
        }
        let mut facts = self.said.before(recipe.at);
        tally.images += 1;
        tally.demanded += facts.accepted.len() as u64;
        let of_class = tally.classes.entry(class.name).or_default();
        of_class.images += 1;
        let place = scratch();
        let image = place.path().join("journal");
        let judged = catch_unwind(AssertUnwindSafe(|| {
            disk.write(place.path());
            let found = judge::alone(&image, &mut facts, &self.batches, class.loss())?;
            if drain && found == Found::Whole { judge::drained(&image, &facts) } else { Ok(found) }
        }));
        let offence = match judged {
            Ok(Ok(found)) => {
                tally.drained += u64::from(drain && found == Found::Whole);
                match found {
                    Found::Whole => {}
                    Found::Behind => of_class.behind += 1,
                    Found::Quarantined(_) => of_class.quarantined += 1,
                    Found::Refused(kind) => *of_class.refused.entry(kind).or_default() += 1,
                }
                return Ok(());
            }
            Ok(Err(offence)) => offence,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                Offence { what: format!("a panic: {}", text.unwrap_or_default()), missing: 0 }
            }
        };
        tally.missing += offence.missing as u64;
        let Recipe { at, class: class_no, seed } = recipe;
        let what = format!("cut before operation {at}, {}, {done}: {}", class.name, offence.what);
        Err(Failure { what, repeat: format!("image {} {at} {class_no} {seed}", self.keep().display()) })
    }
}

/// How many images are made.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Not any longer.
    pub until: Until,
    /// Each so-manieth place of a cut.
    pub stride: usize,
    /// Runs.
    pub runs: u64,
    /// Each so-manieth image is drained by an engine.
    pub drain: u64,
}

/// Records runs and judges images of them, every class in turn, until the budget is spent.
///
/// # Errors
/// [`Failure`], at the first image that is judged wrong.
pub fn torture(seed: u64, budget: Budget, tally: &mut Tally) -> Result<(), Failure> {
    let folder = scratch();
    let library = recorder(folder.path());
    let mut chance = Chance::new(seed);
    for _ in 0..budget.runs {
        if budget.until.is_over() {
            break;
        }
        let (run, _) = Run::record(&library, chance.next());
        let device = Device::of(&run.recording);
        tally.runs += 1;
        tally.operations += run.recording.ops.len() as u64;
        tally.acknowledged += run.said.before(usize::MAX).accepted.len() as u64;
        let places: Vec<usize> = (0..=run.recording.ops.len()).step_by(budget.stride).collect();
        let first = usize::try_from(chance.below(CLASSES.len() as u64)).expect("a small number");
        for (nth, at) in places.into_iter().enumerate() {
            if budget.until.is_over() {
                break;
            }
            let recipe = Recipe { at, class: (first + nth) % CLASSES.len(), seed: chance.next() };
            let drain = chance.below(budget.drain) == 0;
            run.judge(&device, recipe, drain, tally)?;
        }
    }
    Ok(())
}
