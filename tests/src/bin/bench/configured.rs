//! A machine that was configured before and switched off: the disk that its next boots start from.

use std::{net::SocketAddrV4, path::PathBuf};

use anyhow::Result;
use tests::{
    apictl::Apictl,
    artifacts::Image,
    machine::Machine,
    operator::{Operator, wait_blessed},
    scratch::Scratch,
    vm::{BOOT, Boot, Spec, Vm, free_port},
};

/// Its folder, and what it is made of.
pub(crate) struct Configured {
    folder: Scratch,
    spec: Spec,
}

impl Configured {
    /// Configures one with these documents besides, which takes no firmware and no counting, and shuts it down.
    pub(crate) fn new(image: &Image, documents: &[(&str, &str)]) -> Result<Self> {
        let folder = Scratch::new()?;
        // The operator's context names the port.
        let spec = Spec { tpm: false, port: free_port()?, ..Spec::roomy(image)? };
        let quick = Spec { boot: Boot::Kernel(image.clone(), String::new()), ..spec.clone() };
        let vm = Vm::start_in(&quick, folder.path())?;
        vm.wait_line("stele: api ready", BOOT)?;
        let mut machine = Machine { apictl: Apictl::of(&vm)?, vm };
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(&machine)?;
        operator.generate(&machine, "bench")?;
        for (name, document) in documents {
            operator.write(name, document)?;
        }
        machine.apictl.use_context();
        operator.apply(&machine.apictl, &[])?;
        wait_blessed(&machine.apictl, 1)?;
        machine.apictl.wait_for("volume", "EPHEMERAL", "EPHEMERAL", |volume| volume["value"]["phase"] == "mounted")?;
        machine.apictl.ok(&["shutdown", "--no-wait"])?;
        machine.vm.wait_off(BOOT)?;
        Ok(Self { folder, spec })
    }

    /// Starts it by firmware, counted, and without a trace on its disk: each of its boots is the first one after that.
    pub(crate) fn start(&self, mut extra: Vec<String>) -> Result<Vm> {
        extra.push("-snapshot".into());
        let spec = Spec { counted: true, extra, ..self.spec.clone() };
        Vm::start_in(&spec, self.folder.path())
    }

    /// Starts it by firmware, by the clock, with this within its reach; what it writes is lost, or stays for the next start.
    pub(crate) fn start_by_clock(&self, reaches: Vec<(SocketAddrV4, PathBuf)>, lost: bool) -> Result<Vm> {
        let extra = lost.then(|| "-snapshot".to_owned()).into_iter().collect();
        let spec = Spec { reaches, extra, ..self.spec.clone() };
        Vm::start_in(&spec, self.folder.path())
    }

    /// Its operator's client.
    pub(crate) fn apictl(&self) -> Apictl {
        Apictl::of_workstation(self.folder.path())
    }
}
