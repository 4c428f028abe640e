//! Debian's registry server on loopback, installer images in it, and the way a guest reaches it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    artifacts::{self, Image},
    child,
    scratch::Scratch,
};

/// Where guests reach it, in the emulator's network.
const GUEST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 100), 5000);
const REPOSITORY: &str = "stele/test";

/// The server; it ends with this value.
pub struct Registry {
    folder: Scratch,
    child: Child,
    /// `127.0.0.1:port`.
    address: String,
}

impl Registry {
    /// Starts one for anybody, without TLS.
    pub fn start() -> Result<Self> {
        let folder = Scratch::new()?;
        let (config, data) = (folder.path().join("config.yml"), folder.path().join("data"));
        let text = format!(
            "version: 0.1\nlog: {{accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: x}}\n",
            data.display()
        );
        fs::write(&config, text)?;
        let mut command = child::bound(artifacts::imager());
        command.current_dir(artifacts::root());
        command.args(["tool", "docker-registry", "serve"]).arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child::spawn(command).context("starting the registry; run `make setup`")?;
        // It says which port it was given.
        let mut log = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let mut seen = String::new();
        let address = loop {
            let Some(line) = log.next() else { bail!("the registry ended: {seen}") };
            let line = line?;
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ',']).next().unwrap_or_default().to_owned();
            }
            seen.push_str(&line);
        };
        std::thread::spawn(move || log.for_each(drop));
        Ok(Self { folder, child, address })
    }

    /// What a guest calls an image in it.
    pub fn image(&self, tag: &str) -> String {
        format!("{GUEST}/{REPOSITORY}:{tag}")
    }

    /// The document by which a guest reaches it.
    pub fn document(&self) -> String {
        format!("kind: Registry\nname: {GUEST}\nplainHttp: true\n")
    }

    /// How the emulator lets a guest reach it.
    pub fn reached(&self) -> Result<(SocketAddrV4, PathBuf)> {
        let path = self.folder.path().join("relay");
        let (host, port) = self.address.split_once(':').context("no port")?;
        // The answers end when the guest hangs up: nobody reads them any more.
        let script =
            format!("#!/bin/bash\nexec 3<>/dev/tcp/{host}/{port} || exit\ncat <&3 &\ncat >&3\nkill $! 2>/dev/null\n");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok((GUEST, path))
    }

    /// Packs an image as this version, with these words for `imager oci` besides, and pushes it under the tag. `key`: who signs
    /// it; none: the development key.
    pub fn push(&self, image: &Image, version: &str, tag: &str, more: &[&str], key: Option<&str>) -> Result<()> {
        let layout = self.folder.path().join(tag).display().to_string();
        let installer = artifacts::binaries().join("installer");
        let mut oci = imager();
        oci.arg("oci").arg("--uki").arg(image.uki()?).arg("--recovery").arg(image.recovery()?);
        oci.arg("--loader").arg(image.loader()?);
        if !more.contains(&"--installer") {
            oci.arg("--installer").arg(installer);
        }
        run(oci.args(["--version", version, "--output", &layout]).args(more))?;
        let key = key.map(|key| ["--key", key]);
        run(imager().args(["sign", &layout]).args(key.into_iter().flatten()))?;
        let to = format!("{}/{REPOSITORY}:{tag}", self.address);
        run(imager().args(["push", &to, "--layout", &layout, "--plain-http"]))
    }

    /// A key that no machine knows.
    pub fn foreign_key(&self) -> Result<String> {
        let path = self.folder.path().join("foreign.pem").display().to_string();
        let kind = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &path];
        run(child::free("openssl").args(kind))?;
        Ok(path)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn imager() -> Command {
    let mut command = child::free(artifacts::imager());
    command.current_dir(artifacts::root());
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
