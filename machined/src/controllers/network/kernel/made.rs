//! Bonds and VLANs in the kernel's words: from netlink's attributes and back. Pure.

use rtnetlink::packet_route::link::{
    BondLacpRate, BondMode as Mode, BondXmitHashPolicy as Hash, InfoBond, InfoData, InfoKind, InfoVlan, LinkMessage,
};
use rtnetlink::{LinkBond, LinkMessageBuilder, LinkVlan};

use super::dump::Names;
use crate::controllers::network::netlink::OUR_GROUP;
use crate::resources::virtual_link::{Bond, BondMode, HashPolicy, LacpRate, Virtual};

const MODES: [(BondMode, Mode); 7] = [
    (BondMode::BalanceRr, Mode::BalanceRr),
    (BondMode::ActiveBackup, Mode::ActiveBackup),
    (BondMode::BalanceXor, Mode::BalanceXor),
    (BondMode::Broadcast, Mode::Broadcast),
    (BondMode::Lacp, Mode::Ieee8023Ad),
    (BondMode::BalanceTlb, Mode::BalanceTlb),
    (BondMode::BalanceAlb, Mode::BalanceAlb),
];

const POLICIES: [(HashPolicy, Hash); 6] = [
    (HashPolicy::Layer2, Hash::Layer2),
    (HashPolicy::Layer34, Hash::Layer34),
    (HashPolicy::Layer23, Hash::Layer23),
    (HashPolicy::Encap23, Hash::Encap23),
    (HashPolicy::Encap34, Hash::Encap34),
    (HashPolicy::VlanSrcmac, Hash::VlanSrcMac),
];

/// What a bond is like; none when it is in a mode or has a policy that is not known here.
pub(super) fn bond(infos: &[InfoBond], names: &Names) -> Option<Virtual> {
    let (mut mode, mut miimon, mut lacp_rate) = (None, 0, LacpRate::Slow);
    let (mut hash_policy, mut primary) = (None, None);
    for info in infos {
        match info {
            InfoBond::Mode(value) => mode = MODES.iter().find(|(_, theirs)| theirs == value).map(|(ours, _)| *ours),
            InfoBond::MiiMon(value) => miimon = *value,
            InfoBond::AdLacpRate(BondLacpRate::Fast) => lacp_rate = LacpRate::Fast,
            InfoBond::XmitHashPolicy(value) => {
                hash_policy = POLICIES.iter().find(|(_, theirs)| theirs == value).map(|(ours, _)| *ours);
            }
            InfoBond::Primary(index) => primary = names.get(index).cloned(),
            _ => {}
        }
    }
    Some(Virtual::Bond(Bond { mode: mode?, miimon, lacp_rate, hash_policy: hash_policy?, primary }))
}

/// The number of the port that a bond sends by, in modes that send by one.
pub(super) fn active_port(infos: &[InfoBond]) -> Option<u32> {
    infos.iter().find_map(|info| match info {
        InfoBond::ActivePort(index) => Some(*index),
        _ => None,
    })
}

/// The number of a VLAN.
pub(super) fn vlan_id(infos: &[InfoVlan]) -> Option<u16> {
    infos.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

/// The message that makes a link. A bond's primary port is told later: nothing is a port of it yet.
pub(super) fn create(name: &str, make: &Virtual, parent: Option<u32>) -> LinkMessage {
    match make {
        Virtual::Vlan(vlan) => LinkVlan::new(name, parent.unwrap_or_default(), vlan.id).link_group(OUR_GROUP).build(),
        Virtual::Bond(bond) => {
            let mut infos = settings(bond, true);
            infos.extend(MODES.iter().find(|(ours, _)| *ours == bond.mode).map(|(_, mode)| InfoBond::Mode(*mode)));
            LinkBond::new(name).set_info_data(InfoData::Bond(infos)).link_group(OUR_GROUP).build()
        }
    }
}

/// The message that changes a bond; `primary` is 0 for none.
pub(super) fn change(index: u32, bond: &Bond, rate: bool, primary: u32) -> LinkMessage {
    let mut infos = settings(bond, rate);
    if bond.has_primary() {
        infos.push(InfoBond::Primary(primary));
    }
    let message = LinkMessageBuilder::<LinkBond>::new_with_info_kind(InfoKind::Bond);
    message.set_info_data(InfoData::Bond(infos)).index(index).build()
}

/// What can be set at any time, and the rate, which the kernel refuses outside of LACP.
fn settings(bond: &Bond, rate: bool) -> Vec<InfoBond> {
    let mut infos = vec![InfoBond::MiiMon(bond.miimon)];
    infos.extend(
        POLICIES.iter().find(|(ours, _)| *ours == bond.hash_policy).map(|(_, hash)| InfoBond::XmitHashPolicy(*hash)),
    );
    if rate && bond.mode == BondMode::Lacp {
        infos.push(InfoBond::AdLacpRate(match bond.lacp_rate {
            LacpRate::Slow => BondLacpRate::Slow,
            LacpRate::Fast => BondLacpRate::Fast,
        }));
    }
    infos
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bond_says_by_which_port_it_sends() {
        assert_eq!(active_port(&[InfoBond::MiiMon(100), InfoBond::ActivePort(3)]), Some(3));
        // One that hashes, or has no port with a carrier.
        assert_eq!(active_port(&[InfoBond::MiiMon(100)]), None);
    }
}
