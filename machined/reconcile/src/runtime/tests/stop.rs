//! How controllers end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_cycle_finish() {
    let rig = Rig::new([Do::Work(500 * MS)]);
    rig.links.put("eth0", Link(1));
    settle().await;
    let (store, started) = (rig.store.clone(), rig.started);
    assert_eq!(rig.stop().await.cut, Vec::<&str>::new());
    assert_eq!((started.elapsed(), store.list::<Address>().len()), (500 * MS, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_what_hangs() {
    let rig = Rig::new([Do::Hang]);
    settle().await;
    let started = rig.started;
    assert_eq!(rig.stop().await.cut, ["test/copier"]);
    assert_eq!(started.elapsed(), 1001 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_back_off() {
    let rig = Rig::new(vec![Do::Fail("no"); 100]);
    sleep(Duration::from_secs(100)).await;
    let (status, now) = (rig.status.clone(), Instant::now());
    assert_eq!(rig.stop().await.cut, Vec::<&str>::new());
    assert_eq!((now.elapsed(), status.controllers()[0].state), (Duration::ZERO, State::Stopped));
}

/// Its `wake` breaks its contract: it never waits.
struct Spinner;

impl Controller for Spinner {
    const NAME: &'static str = "test/spinner";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Link>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn what_spins_is_slowed_down_and_can_be_stopped() {
    let mut runtime = Runtime::new(Store::new());
    runtime.register(Spinner);
    let status = runtime.status();
    let stopped = runtime.run(sleep(Duration::from_secs(10))).await.unwrap();
    assert_eq!(stopped.cut, Vec::<&str>::new());
    let cycles = status.controllers()[0].cycles;
    assert!((900..=1100).contains(&cycles), "{cycles} cycles in ten seconds");
}
