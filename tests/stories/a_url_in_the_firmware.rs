//! The firmware's serial number names a server with the configuration (NoCloud over HTTP). As long as the server has none the
//! machine says so, lets nobody in and asks again; as soon as it has one it is configured.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts, nocloud,
    operator::wait_blessed,
    runner::Story,
    scratch::Scratch,
    vm::{self, BOOT, Spec, Vm},
};

/// Where the guest finds the server: the emulator hands each connection to a program.
const SERVER: &str = "10.0.2.100";

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_url_in_the_firmware_is_asked_until_it_has_the_configuration", story)]
}

fn story() -> Result<()> {
    let folder = Scratch::new()?;
    let mut spec = Spec::roomy_kernel(&artifacts::test_image())?;
    spec.port = vm::free_port()?;
    let (workstation, user_data) = nocloud::user_data(folder.path(), (Ipv4Addr::LOCALHOST, spec.port).into())?;
    let files = folder.path().join("files");
    fs::create_dir(&files)?;
    let server = server(folder.path(), &files)?;
    let forwards = format!("hostfwd=tcp:127.0.0.1:{}-:50000,guestfwd=tcp:{SERVER}:80-cmd:{server}", spec.port);
    spec.nic = None;
    spec.extra.extend(["-netdev".to_owned(), format!("user,id=user0,restrict=on,ipv4=on,ipv6=on,{forwards}")]);
    spec.extra.extend(["-device", "virtio-net-pci,netdev=user0,romfile=", "-smbios"].map(str::to_owned));
    spec.extra.push(format!("type=1,serial=ds=nocloud;s=http://{SERVER}/lab/"));
    let machine = Vm::start(&spec)?;
    machine.wait_line("stele: config nocloud-url: wrong: http://10.0.2.100/lab/: there is no file user-data", BOOT)?;
    machine.wait_line("Nobody is let in until this is right", BOOT)?;
    ensure!(!Apictl::insecure(&machine).run(&["version"])?.status.success(), "a stranger was let in");

    fs::write(files.join("meta-data"), "local-hostname: node-8\n")?;
    // Whole at once: the machine asks all the time.
    fs::write(files.join(".user-data"), user_data)?;
    fs::rename(files.join(".user-data"), files.join("user-data"))?;
    machine.wait_line("stele: config nocloud-url: used http://10.0.2.100/lab/ (user-data, meta-data)", BOOT)?;
    wait_blessed(&workstation, 1)?;
    let named = |machine: &serde_json::Value| machine["value"]["hostname"] == "node-8";
    workstation.wait_for("machine", "machine", "the host name of meta-data", named)?;
    ensure!(
        machine.console.count("stele: phase maintenance") == 0,
        "it opened maintenance: {}",
        machine.console.tail(60)
    );
    Ok(())
}

/// A program that answers one request with a file of this folder. It reads the request to its end: what is left unread when
/// it ends would reset the connection.
fn server(folder: &Path, files: &Path) -> Result<String> {
    let place = folder.join("server");
    let text = format!(
        r#"#!/bin/sh
end=$(printf '\r')
read -r _ path _
while read -r header && [ "$header" != "$end" ]; do :; done
file="{}/${{path##*/}}"
if [ -f "$file" ]; then
    printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n' "$(stat -c %s "$file")"
    cat "$file"
else
    printf 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
fi
"#,
        files.display()
    );
    fs::write(&place, text)?;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
    Ok(place.display().to_string())
}
