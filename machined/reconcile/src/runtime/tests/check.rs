//! What keeps controllers from running together.

use super::*;

/// Owns what the copier owns.
struct Rival;

impl Controller for Rival {
    const NAME: &'static str = "test/rival";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Address>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        unreachable!("never starts")
    }
}

/// Disagrees with itself.
struct Torn;

impl Controller for Torn {
    const NAME: &'static str = "test/torn";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Link>().share::<Link>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        unreachable!("never starts")
    }
}

#[tokio::test]
async fn every_problem_is_told_before_anything_starts() {
    let rig = || Copier { script: vec![], begun: Arc::default(), kick: Arc::default() };
    let mut runtime = Runtime::new(Store::new());
    runtime.register(rig()).register(Rival).register(Torn).register(rig());
    let problems = runtime.run(std::future::pending()).await.unwrap_err();
    let told: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "test/rival wants to own address, but test/copier has declared to own it: one may own a type, or all \
             share it",
            "test/torn wants to share link, but test/torn has declared to own it: one may own a type, or all share it",
            "two controllers are named test/copier: rename one, or register it once",
        ]
    );
}
