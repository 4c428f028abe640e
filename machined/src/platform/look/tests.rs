use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::platform::Finding;
use crate::platform::sources::{self, Source};

fn disk(device: &str, format: &str, label: &str) -> Disk {
    let content = Content { format: format.into(), uuid: String::new(), label: label.into() };
    Disk { device: device.into(), content: (!format.is_empty()).then_some(content), ..Disk::default() }
}

fn part(disk: &str, device: &str, format: &str, label: &str) -> Partition {
    let content = Content { format: format.into(), uuid: String::new(), label: label.into() };
    Partition { disk: disk.into(), device: device.into(), content: Some(content), ..Partition::default() }
}

#[test]
fn volumes_by_label_and_format() {
    let store = Store::new();
    let look = Look::new(&store).unwrap();
    let (disks, parts) = (store.writer::<Disk>("test").unwrap(), store.writer::<Partition>("test").unwrap());
    disks.put("vda", disk("/dev/vda", "", ""));
    disks.put("sr0", disk("/dev/sr0", "iso9660", "cidata"));
    parts.put("vda1", part("vda", "/dev/vda1", "vfat", "CIDATA"));
    parts.put("vda2", part("vda", "/dev/vda2", "ext4", "cidata"));
    parts.put("vda3", part("vda", "/dev/vda3", "vfat", "cidata-2"));
    // A hybrid image: the same volume again.
    parts.put("sr0p1", part("sr0", "/dev/sr0p1", "iso9660", "cidata"));
    let found: Vec<_> = look.volumes().into_iter().map(|volume| (volume.device, volume.format)).collect();
    assert_eq!(found, [("/dev/sr0".into(), "iso9660".into()), ("/dev/vda1".into(), "vfat".into())]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_before_the_disks_of_all_drivers_are_listed() {
    let store = Store::new();
    let look = Look::new(&store).unwrap();
    let inventory = store.writer::<DiskInventory>("test").unwrap();
    inventory.put(DiskInventory::ID, DiskInventory { stage: Stage::Storage });
    let early = tokio::time::timeout(Duration::from_secs(100), look.disks_listed()).await;
    assert!(early.is_err() && store.list::<Wait>().is_empty(), "the wait ends with who waits");
    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(store.list::<Wait>()[0].id, "config-disk");
        inventory.put(DiskInventory::ID, DiskInventory { stage: Stage::Optical });
    };
    tokio::join!(look.disks_listed(), later);
    assert!(store.list::<Wait>().is_empty());
}

#[test]
fn files_are_below_the_address_or_in_the_place_of_a_mark() {
    for (base, wanted) in [
        ("http://h/a", "http://h/a/user-data"),
        ("http://h/a/", "http://h/a/user-data"),
        ("http://h/x?f=%s&t=1", "http://h/x?f=user-data&t=1"),
    ] {
        assert_eq!(Files::of(base).unwrap().user_data.to_string(), wanted);
    }
    assert!(Files::of("/var/seed").is_err() && Files::of("ftp://h/").is_err());
}

/// A server that has user-data from the third request on.
#[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut asked = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap_or(0);
            let whole = include_str!("../../../corpus/user_data/whole");
            let user_data = String::from_utf8_lossy(&request[..read]).contains("/user-data ");
            asked += usize::from(user_data);
            let answer = match (user_data, asked) {
                (true, 3..) => format!("HTTP/1.0 200 OK\r\n\r\n{whole}"),
                (true, _) => "HTTP/1.0 503 Later\r\n\r\n".into(),
                _ => "HTTP/1.0 404 Not Found\r\n\r\n".into(),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn a_url_is_asked_until_its_server_answers_and_only_once_there_is_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let (serial, line) = (folder.path().join("serial"), folder.path().join("cmdline"));
    std::fs::write(&line, "quiet").unwrap();
    let store = Store::new();
    let mut look = Look::new(&store).unwrap();
    let mut nobody = sources::url(&serial, &line);
    assert!(matches!(nobody.look(&look).await, Finding::Nothing { .. }));

    std::fs::write(&serial, format!("ds=nocloud;h=node;s=http://127.0.0.1:{}/?token=x\n", serve().await)).unwrap();
    look.patience = Duration::from_millis(300);
    let mut named = sources::url(&serial, &line);
    let Finding::Wrong { why } = named.look(&look).await else { panic!("no network, and it was not said") };
    assert!(why.contains("the network is being looked for") && !why.contains("token"), "{why}");

    look.patience = Duration::from_secs(30);
    store.shared_writer::<Condition>("test").unwrap().put(Condition::NETWORK, Condition::met("eth0")).unwrap();
    std::fs::write(&serial, format!("ds=nocloud;h=node;s=http://127.0.0.1:{}/%s", serve().await)).unwrap();
    let mut named = sources::url(&serial, &line);
    let Finding::Found(found) = named.look(&look).await else { panic!("not found") };
    assert!(found.input.text.contains("hostname: node"), "what the firmware calls it");
    assert!(store.list::<Wait>().is_empty());
    assert_eq!(json!(found.instance_id), json!(""));
}
