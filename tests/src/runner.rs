//! Runs stories, some machines at a time, each story retried once when the emulator itself hung, and only then.

use std::{
    process::ExitCode,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::vm::{EmulatorHang, emulator_hangs};

/// How long each story took.
static TOOK: Mutex<Vec<(&'static str, Duration)>> = Mutex::new(Vec::new());

/// A story: its name is a sentence.
pub struct Story {
    /// What it shows.
    pub name: &'static str,
    /// The telling.
    pub run: fn() -> Result<()>,
    /// Too long for every run: only told with `--ignored`.
    pub long: bool,
}

impl Story {
    /// A story for every run.
    pub const fn new(name: &'static str, run: fn() -> Result<()>) -> Self {
        Self { name, run, long: false }
    }

    /// A story for `make test-long`.
    pub const fn long(name: &'static str, run: fn() -> Result<()>) -> Self {
        Self { name, run, long: true }
    }
}

/// Runs the stories that the command line selects, then `finish`, and prints a summary as its last lines.
pub fn run(stories: Vec<Story>, finish: impl FnOnce()) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(crate::vm::MACHINES);
    let trials = stories
        .into_iter()
        .map(|story| {
            let long = story.long;
            Trial::test(story.name, move || timed(&story)).with_ignored_flag(long)
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    finish();
    let mut took = TOOK.lock().unwrap_or_else(PoisonError::into_inner);
    took.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    for (name, time) in took.iter() {
        println!("{:6.1} s  {name}", time.as_secs_f32());
    }
    println!("hangs of the emulator: {} (a story that met one was told once more)", emulator_hangs());
    println!(
        "test result: {}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out",
        if conclusion.has_failed() { "FAILED" } else { "ok" },
        conclusion.num_passed,
        conclusion.num_failed,
        conclusion.num_ignored,
        conclusion.num_filtered_out
    );
    conclusion.exit_code()
}

fn timed(story: &Story) -> Result<(), Failed> {
    let start = Instant::now();
    let done = told(story.run);
    if let Err(failed) = &done {
        // At once: the runner shows it only when all the others are through.
        eprintln!("\n{} failed: {}", story.name, failed.message().unwrap_or_default());
    }
    TOOK.lock().unwrap_or_else(PoisonError::into_inner).push((story.name, start.elapsed()));
    done
}

fn told(story: fn() -> Result<()>) -> Result<(), Failed> {
    match story() {
        Err(error) if error.downcast_ref::<EmulatorHang>().is_some() => {
            eprintln!("{error:#}\ntelling the story once more");
            story()
        }
        other => other,
    }
    .map_err(|error| Failed::from(format!("{error:#}")))
}
