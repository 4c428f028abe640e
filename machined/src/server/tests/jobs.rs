//! Jobs over the API: answered at once, shown as a resource, cancelled; and what this version cannot do.

use futures_util::{FutureExt, future::BoxFuture};

use super::*;
use crate::jobs::{Failed, Job, Work, Works};
use crate::resources::job::Job as Shown;

/// Never ends by itself.
struct Endless;

impl Work for Endless {
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<String, Failed>> {
        async move {
            job.step("partition").await?;
            std::future::pending().await
        }
        .boxed()
    }

    fn tidy<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        async {}.boxed()
    }
}

/// An engine that knows installs and no upgrades.
pub(super) fn start(node: &mut Node) -> crate::jobs::Handle {
    let meta = crate::meta::Handle::new("boot");
    meta.detach("a test");
    let parts = crate::jobs::Parts {
        store: node.store.clone(),
        events: Events::open(&Store::new(), node.path("job-events")).unwrap(),
        meta,
        state: node.state.clone(),
        run: node.folder.path().to_owned(),
        stop: node.stop.clone(),
        works: Works { upgrade: None, install: Some(Arc::new(Endless)) },
    };
    let (handle, engine) = crate::jobs::build(parts).unwrap();
    node.link.spawn(engine.run());
    handle
}

#[tokio::test]
async fn a_job_is_answered_at_once_shown_and_cancelled() {
    let node = node().await;
    let mut client = MachineClient::new(node.connect().await);
    let install = |image: &str, wipe| v1::InstallDiskRequest {
        disk: "serial=a".into(),
        image: image.into(),
        wipe,
        ..Default::default()
    };
    let odd = v1::InstallDiskRequest { disk: "/dev/vda".into(), ..Default::default() };
    let odd = client.install(odd).await.unwrap_err();
    assert!(odd.code() == Code::InvalidArgument && odd.message().contains("change between boots"), "{odd}");
    let wrong = client.install(install("stele", false)).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().starts_with("image: "), "{}", wrong.message());

    let job = client.install(install("", false)).await.unwrap().into_inner().job;
    assert_eq!(client.install(install("", false)).await.unwrap().into_inner().job, job, "the same wish");
    let busy = client.install(install("", true)).await.unwrap_err();
    let reason = busy.get_details_error_info().unwrap().reason;
    assert_eq!((busy.code(), reason.as_str()), (Code::FailedPrecondition, "JOB_RUNNING"));

    let mut resources = ResourceClient::new(node.connect().await);
    let get = v1::GetRequest { r#type: "jobs".into(), id: job.to_string() };
    let shown: Shown = serde_json::from_str(&resources.get(get).await.unwrap().into_inner().value).unwrap();
    assert_eq!((&*shown.kind, &*shown.what, &*shown.by), ("install", "what runs on serial=a", "127.0.0.1"));
    assert!(shown.cancellable);

    client.cancel_job(v1::CancelJobRequest { job }).await.unwrap();
    let over = client.cancel_job(v1::CancelJobRequest { job }).await.unwrap_err();
    assert_eq!(over.get_details_error_info().unwrap().reason, "JOB_OVER");
    let unknown = client.cancel_job(v1::CancelJobRequest { job: 99 }).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "there is no job 99"));
}

#[tokio::test]
async fn a_dry_run_begins_nothing_and_tells_of_every_disk() {
    use crate::resources::{coldplug::Stage, disk::Disk, disk_inventory::DiskInventory, system_disk};
    let node = node().await;
    let inventory = node.store.writer::<DiskInventory>("test").unwrap();
    inventory.put(DiskInventory::ID, DiskInventory { stage: Stage::All });
    let system = node.store.writer::<system_disk::SystemDisk>("test").unwrap();
    let none = system_disk::SystemDisk {
        state: system_disk::State::None,
        disk: String::new(),
        meta: String::new(),
        reason: String::new(),
        candidates: Vec::new(),
        guids: system_disk::Guids::Unknown,
        complete: true,
        settled: true,
    };
    system.put(system_disk::SystemDisk::ID, none);
    let disks = node.store.writer::<Disk>("test").unwrap();
    for (name, serial) in [("vda", "a"), ("vdb", "b")] {
        let disk = Disk { serial: serial.into(), table: "gpt".into(), size: 8 << 30, ..Disk::default() };
        disks.put(name, disk);
    }
    let mut client = MachineClient::new(node.connect().await);
    let ask = |wipe| v1::InstallDiskRequest { disk: "serial=b".into(), wipe, dry_run: true, ..Default::default() };
    let refused = client.install(ask(false)).await.unwrap().into_inner();
    assert_eq!((refused.job, &*refused.chosen), (0, ""));
    assert!(refused.reason.contains("vdb (b 8GiB) holds an empty partition table (gpt)"), "{}", refused.reason);
    let [a, b] = &refused.disks[..] else { panic!("{refused:?}") };
    assert_eq!((&*a.why_not, &*b.why_not), ("serial is not b: it is a", ""));
    assert_eq!(client.install(ask(true)).await.unwrap().into_inner().chosen, "vdb");
}

#[tokio::test]
async fn strangers_do_not_upgrade() {
    let node = node().await;
    let mut client = MachineClient::new(node.connect().await);
    let upgrade = v1::UpgradeRequest { image: "r.example/stele:1".into(), ..v1::UpgradeRequest::default() };
    let denied = client.upgrade(upgrade).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("stele:operator or stele:admin"), "{}", denied.message());
}
