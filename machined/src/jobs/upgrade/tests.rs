//! Where an upgrade goes on after a boot.

use std::sync::Mutex;

use super::*;
use crate::meta;
use crate::resources::config_status::State;

/// Generation 2 was staged in the boot "before".
struct Fake {
    waits: bool,
    done: Mutex<Vec<&'static str>>,
}

impl Fake {
    fn did(&self, what: &'static str) -> BoxFuture<'_, Result<(), Failed>> {
        self.done.lock().unwrap().push(what);
        async { Ok(()) }.boxed()
    }
}

impl Generations for Fake {
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failed>> {
        async { Err(Failed::refused("it begins anew", "")) }.boxed()
    }

    fn look<'a>(&'a self, _: &'a Job, _: &'a Pulled, _: bool) -> BoxFuture<'a, Result<Option<u32>, Failed>> {
        async { Ok(None) }.boxed()
    }

    fn stage<'a>(&'a self, _: &'a Job, _: &'a Pulled) -> BoxFuture<'a, Result<u32, Failed>> {
        async { Ok(2) }.boxed()
    }

    fn waits(&self, _: u32) -> BoxFuture<'_, bool> {
        async { self.waits }.boxed()
    }

    fn tidy(&self) -> BoxFuture<'_, ()> {
        self.did("tidy").map(drop).boxed()
    }

    fn start_trial(&self, _: u32) -> BoxFuture<'_, Result<(), Failed>> {
        self.did("trial")
    }

    fn outcome(&self, _: u32) -> BoxFuture<'_, Result<(), Failed>> {
        self.did("outcome")
    }
}

struct Boot {
    _folder: tempfile::TempDir,
    job: Job,
    upgrade: Upgrade,
    fake: Arc<Fake>,
    stop: stop::Handle,
    _tasks: tokio::task::JoinSet<()>,
}

/// The boot "now", of an upgrade that was begun in "before".
async fn boot(waits: bool, staged: bool, recovery: bool) -> Boot {
    let (folder, store, stop) = (tempfile::tempdir().unwrap(), Store::new(), stop::Handle::new());
    let meta = meta::Handle::new("now");
    meta.detach("a test");
    let job = Job::alone(&store, meta, folder.path());
    job.leave(BEGUN, &"before").await.unwrap();
    if staged {
        let staged = Staged { generation: 2, version: "2.0.0".into(), boot: "before".into() };
        job.leave(STAGED, &staged).await.unwrap();
    }
    job.commit().await.unwrap();
    let (init, tasks) = crate::link::tests::connect(&Arc::default(), &stop);
    let fake = Arc::new(Fake { waits, done: Mutex::default() });
    let parts = Parts {
        programs: Programs::free(init.clone()),
        image: Image { recovery, ..Image::unknown() },
        store,
        run: folder.path().into(),
        boot_id: "now".into(),
        active: watch::Sender::new(Arc::new(Active::nothing(State::Unconfigured))).subscribe(),
        stop: stop.clone(),
        init,
        generations: fake.clone(),
    };
    Boot { _folder: folder, job, upgrade: Upgrade::new(parts), fake, stop, _tasks: tasks }
}

#[tokio::test]
async fn a_trial_that_a_cut_prevented_is_begun_in_the_next_boot() {
    let boot = boot(true, true, false).await;
    tokio::select! {
        ended = boot.upgrade.upgrade(&boot.job) => panic!("{ended:?}"),
        _ = boot.stop.requested() => {}
    }
    assert_eq!(*boot.fake.done.lock().unwrap(), ["trial"]);
    assert_eq!(boot.job.left::<Staged>(STAGED).unwrap().boot, "now", "the next boot proves it");
}

#[tokio::test]
async fn one_that_was_begun_is_only_waited_for_in_the_recovery_system_too() {
    for recovery in [false, true] {
        let boot = boot(false, true, recovery).await;
        boot.upgrade.upgrade(&boot.job).await.unwrap();
        assert_eq!(*boot.fake.done.lock().unwrap(), ["outcome"]);
    }
}

#[tokio::test]
async fn nothing_goes_on_in_the_recovery_system_that_was_begun_elsewhere() {
    for staged in [false, true] {
        let boot = boot(true, staged, true).await;
        let failed = boot.upgrade.upgrade(&boot.job).await.unwrap_err();
        assert!(failed.reason.contains("recovery system"), "{}", failed.reason);
        assert!(boot.fake.done.lock().unwrap().is_empty());
    }
    // What was asked for here goes on, and can be called off again until it is staged.
    let boot = boot(true, false, true).await;
    boot.job.leave(BEGUN, &"now").await.unwrap();
    assert_eq!(boot.upgrade.upgrade(&boot.job).await.unwrap_err().reason, "it begins anew");
    assert!(!boot.job.record().committed);
}

#[tokio::test]
async fn the_floor_is_the_higher_one_of_the_image_and_of_what_was_proven_here() {
    let mut boot = boot(false, false, false).await;
    let version = |text: &str| Some(text.parse::<semver::Version>().unwrap());
    for (image, meta, floor) in [
        (None, None, None),
        (version("0.2.0"), None, version("0.2.0")),
        (None, version("0.1.0"), version("0.1.0")),
        (version("0.9.0"), version("0.10.0"), version("0.10.0")),
        (version("0.10.0"), version("0.9.0"), version("0.10.0")),
    ] {
        boot.upgrade.parts.image.floor = image;
        let known = boot.upgrade.known(Facts { floor: meta, ..Facts::default() }, true);
        assert!(known.floor == floor && known.allow_downgrade, "{known:?}");
    }
}
