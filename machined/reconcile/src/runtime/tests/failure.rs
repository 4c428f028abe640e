//! Failures: back-off, recovery, panics.

use super::*;

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_keep_outputs() {
    let rig = Rig::new([
        Do::End(Next::OnChange),
        Do::Fail("no"),
        Do::Fail("no"),
        Do::Panic,
        Do::Fail("no"),
        Do::End(Next::OnChange),
        Do::Fail("again"),
    ]);
    rig.links.put("eth0", Link(1));
    settle().await;
    rig.links.remove("eth0");
    settle().await;
    let status = rig.status();
    assert_eq!((status.state, status.failures, status.last_error.as_deref()), (State::BackingOff, 1, Some("no")));
    assert!(status.next_cycle.unwrap() <= 200 * MS && status.next_cycle.unwrap() > 150 * MS);
    sleep(700 * MS).await;
    assert_eq!(rig.status().last_error.as_deref(), Some("panicked: told to"));
    assert_eq!(rig.outputs(), ["eth0"], "a failure sweeps nothing");
    sleep(Duration::from_secs(10)).await;
    let status = rig.status();
    assert_eq!((status.state, status.cycles, status.failures, status.failures_in_a_row), (State::Idle, 6, 4, 0));
    assert_eq!(rig.outputs(), Vec::<String>::new());
    let begun = rig.begun();
    for (pair, full) in begun[1..].windows(2).zip([200, 400, 800, 1600]) {
        let delay = pair[1] - pair[0];
        assert!((full * 3 / 4).max(200) <= delay && delay <= full + 2, "{delay} of {full}: {begun:?}");
    }
    rig.kick.notify_one();
    sleep(201 * MS + MS).await;
    assert_eq!(rig.status().cycles, 8, "success has reset the back-off");
}

#[tokio::test(start_paused = true)]
async fn news_cuts_a_long_wait_short_but_does_not_spin() {
    let rig = Rig::new(vec![Do::Fail("no"); 1000]);
    sleep(Duration::from_secs(300)).await;
    let before = rig.begun().len();
    assert!((14..=19).contains(&before), "{before} tries in five minutes");
    for value in 0..1000 {
        rig.links.put("eth0", Link(value));
        sleep(10 * MS).await;
    }
    let more = rig.begun().len() - before;
    assert!((2..=5).contains(&more), "{more} tries in ten seconds of endless news");
}

/// Its `wake` panics so many times.
struct Restless {
    panics: u32,
}

impl Controller for Restless {
    const NAME: &'static str = "test/restless";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Address>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        if self.panics > 0 {
            self.panics -= 1;
            panic!("in wake");
        }
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_wake_is_a_failure() {
    let mut runtime = Runtime::new(Store::new());
    runtime.register(Restless { panics: 1 });
    let status = runtime.status();
    let stopped = runtime.run(async {
        settle().await;
        let failed = status.controller("test/restless").unwrap();
        assert_eq!((failed.state, failed.last_error.as_deref()), (State::BackingOff, Some("panicked: in wake")));
        advance(Duration::from_secs(1)).await;
        settle().await;
        assert_eq!(status.controller("test/restless").unwrap().state, State::Idle);
    });
    assert_eq!(stopped.await.unwrap().cut, Vec::<&str>::new());
}
