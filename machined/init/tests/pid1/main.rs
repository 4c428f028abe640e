//! PID 1 for real, as process 1 of namespaces of its own, with a machined that the test holds on strings.
#![allow(clippy::unwrap_used, reason = "a test")]

mod machine;

use machine::{Machine, example, pause, unshare};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

const KILL_MYSELF: &str = "run kill -KILL $PPID";

#[test]
fn descriptors_survive_a_killed_machined() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    assert_eq!(first.fetch(), ["Fetched { generation: 1, last: None, hung: false }"]);
    first.order("put /proc/version");
    first.expect("Done");
    first.order(KILL_MYSELF);
    let mut second = machine.brain();
    let told = second.fetch();
    assert_eq!(told[0], "Entry { name: \"file\", kind: Plain, dropped: 0 }");
    let last = "Fetched { generation: 2, last: Some(Signaled { signal: 9, core: false }), hung: false }";
    assert_eq!(told.last().map(String::as_str), Some(last));
    second.order("read");
    assert!(second.expect("text ").starts_with("text Linux version"));
}

#[test]
fn statuses_of_registered_processes_are_kept_and_orphans_reaped() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    first.fetch();
    first.order("run sleep 0.5; exit 42");
    let pid = first.pid();
    // An orphan of an orphan, registered by nobody: reaped, not told.
    first.order("orphan (sleep 0.1; exit 5) & sleep 0.2 & exit 6");
    first.order("exit");
    let mut second = machine.brain();
    let ended = format!("Status {{ pid: Pid({pid}), status: Exited(42) }}");
    // It ends while the second lives: told without asking, once it has asked for what is kept.
    let mut told = second.fetch();
    if !told.contains(&ended) {
        told.push(second.expect("Status"));
    }
    assert!(told.contains(&ended), "{told:?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("Status")).count(), 1);
    // Kept until it is collected.
    second.order("exit");
    let mut third = machine.brain();
    assert!(third.fetch().contains(&ended));
    third.order(&format!("forget {pid}"));
    assert!(!third.fetch().contains(&ended));
    // Nothing but init, machined and the asking shell is left; no zombies.
    third.order("run for p in /proc/[0-9]*; do grep -q '^State:.Z' $p/status && exit 9; done; exit 0");
    let pid = third.pid();
    third.order("exit");
    let mut fourth = machine.brain();
    let end = format!("Status {{ pid: Pid({pid}), status: Exited(0) }}");
    let mut told = fourth.fetch();
    if !told.contains(&end) {
        told.push(fourth.expect("Status"));
    }
    assert!(told.contains(&end), "{told:?}");
}

#[test]
fn log_pipes_wait_for_a_reader_and_are_drained_only_later() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    first.fetch();
    // More than a pipe of 64 KiB holds: the writer blocks until somebody reads.
    first.order("log 200000");
    first.expect("Done");
    first.order("exit");
    let mut second = machine.brain();
    assert!(second.fetch()[0].ends_with("dropped: 0 }"), "back within the second that is waited: nothing is lost");
    second.order("exit");
    // This one never asks, so nobody reads: drained after a second.
    let mut third = machine.brain();
    pause(Duration::from_millis(1800));
    // All but what fits into half of the pipe: that blocks nobody.
    let told = third.fetch()[0].clone();
    let dropped = told.strip_prefix("Entry { name: \"log:test\", kind: LogPipe, dropped: ").expect("an entry");
    let dropped: u32 = dropped.trim_end_matches(" }").parse().expect("a number");
    assert!((200_000 - 32_768..=200_000).contains(&dropped), "{told}");
    assert_eq!(third.fetch()[0], told, "told until machined puts it again");
}

/// Each life asks for what is kept, as if to read it, and dies: the writer must not wait for ever.
#[test]
fn log_pipes_are_drained_in_a_crash_loop() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    first.fetch();
    first.order("log 200000");
    first.expect("Done");
    first.order("exit");
    let dropped = |told: String| !told.ends_with("dropped: 0 }");
    let lives = (0..12).position(|_| {
        let mut brain = machine.brain();
        let told = brain.fetch()[0].clone();
        brain.order("exit");
        dropped(told)
    });
    assert!(lives.is_some_and(|life| life > 1), "drained in life {lives:?}");
}

#[test]
fn restarts_back_off() {
    let Some(machine) = Machine::start() else { return };
    let mut pauses = vec![];
    for _ in 0..5 {
        let mut brain = machine.brain();
        // What is not proven would be given up for ending so often.
        brain.order("settled");
        brain.expect("ok settled");
        brain.order("exit");
        while !brain.next().is_empty() {}
        let gone = Instant::now();
        drop(brain);
        let mut next = machine.brain();
        pauses.push(gone.elapsed());
        next.order("exit");
        while !next.next().is_empty() {}
    }
    assert!(pauses[4] >= Duration::from_millis(300), "{pauses:?}");
    machine.shows("it is started again in 100 ms");
    machine.shows("it is started again in 200 ms");
    machine.shows("it is started again in 400 ms");
}

#[test]
fn what_nobody_says_is_settled_is_given_up_when_machined_ends_again_and_again() {
    let Some(mut machine) = Machine::start() else { return };
    for _ in 0..8 {
        let mut brain = machine.brain();
        brain.order("exit");
        while !brain.next().is_empty() {}
    }
    assert_eq!(machine.end().signal(), Some(1), "a reboot, as reboot(2) of a namespace shows it");
    machine.shows("machined ends again and again");
}

#[test]
fn a_hung_machined_is_killed_and_its_services_are_not() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    first.fetch();
    first.order("run sleep 600");
    first.expect("ok run");
    first.order("hang");
    let mut second = machine.brain();
    let told = second.fetch();
    assert!(
        told.last().unwrap().ends_with("last: Some(Signaled { signal: 9, core: false }), hung: true }"),
        "{told:?}"
    );
    assert!(!told.iter().any(|line| line.starts_with("Status")), "the service lives: {told:?}");
    machine.shows("machined hangs");
}

#[test]
fn a_signal_is_machined_s_to_obey() {
    let Some(mut machine) = Machine::start() else { return };
    let mut brain = machine.brain();
    brain.fetch();
    machine.signal(rustix::process::Signal::TERM);
    machine.signal(rustix::process::Signal::INT);
    brain.expect("StopWanted { action: Reboot, cause: ");
    brain.order("stop");
    // It says power-off, but the first wish counts: a reboot, as reboot(2) of a namespace shows it.
    assert_eq!(machine.end().signal(), Some(1));
    let screen = machine.screen();
    assert_eq!(
        screen.matches("stopping: signal to PID 1").count() + screen.matches("stopping: Ctrl-Alt-Del").count(),
        1
    );
    assert!(screen.contains("stele: stopping: reboot"), "{screen}");
}

#[test]
fn the_power_button_works_without_machined() {
    let Some(mut machine) = Machine::start() else { return };
    let mut brain = machine.brain();
    brain.fetch();
    brain.order("button");
    brain.expect("Done");
    brain.order("exit");
    assert_eq!(machine.end().signal(), Some(2), "power-off, as reboot(2) of a namespace shows it");
    assert!(machine.screen().contains("stele: stopping: power button"), "{}", machine.screen());
}

#[test]
fn init_stops_alone_when_machined_dies_or_dawdles() {
    for order in ["exit", KILL_MYSELF, "hang", "reboot"] {
        let Some(mut machine) = Machine::start() else { return };
        let mut brain = machine.brain();
        // A child that ignores what can be ignored.
        brain.order("run trap '' TERM INT HUP; while :; do sleep 1; done");
        brain.expect("ok run");
        brain.order("stopping");
        // What machined waits for before it promises the stop to anybody.
        brain.expect("Stands { action: PowerOff }");
        brain.order(order);
        let start = Instant::now();
        machine.end();
        assert!(start.elapsed() < Duration::from_secs(8), "{order}: {:?}", start.elapsed());
        assert!(machine.screen().contains("stele: stopping: power off"), "{order}");
    }
}

#[test]
fn output_of_machined_is_relayed() {
    let Some(machine) = Machine::start() else { return };
    let mut brain = machine.brain();
    brain.order("say hello from machined");
    machine.shows("hello from machined\n");
    brain.order("panic");
    machine.shows("as told");
    machine.brain().fetch();
}

/// More orphans than one turn reaps, while heartbeats go on; and none is left.
#[test]
fn a_storm_of_orphans_is_reaped() {
    let Some(machine) = Machine::start() else { return };
    let mut first = machine.brain();
    first.fetch();
    first.order("orphan i=0; while [ $i -lt 1500 ]; do (sleep 0.3 &) ; i=$((i+1)); done");
    first.expect("ok orphan");
    pause(Duration::from_secs(3));
    first.order("run n=$(grep -l '^State:.Z' /proc/[0-9]*/status | wc -l); exit $((n > 1))");
    let pid = first.pid();
    pause(Duration::from_secs(1));
    first.order("exit");
    let mut second = machine.brain();
    let told = second.fetch();
    // One zombie is allowed: the first order's shell, whose parent machined is.
    assert!(told.contains(&format!("Status {{ pid: Pid({pid}), status: Exited(0) }}")), "{told:?}");
    assert!(told.last().unwrap().contains("generation: 2"), "{told:?}");
}

/// The kernel panics when PID 1 dies of either; this restarts the machine instead (SIGHUP, as a namespace shows it).
#[test]
fn a_broken_init_restarts_the_machine() {
    if Machine::start().is_none() {
        return;
    }
    for how in ["panic", "abort"] {
        let output = unshare().arg(example("pid1")).arg(how).output().unwrap();
        assert_eq!(output.status.signal(), Some(1), "{how}: {output:?}");
    }
}
