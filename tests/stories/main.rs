//! The stories: what an operator sees, told with real machines. One file each; a name is a sentence.

mod a_bond;
mod a_configured_machine;
mod a_damaged_image;
mod a_damaged_state;
mod a_dhcp_server;
mod a_flood;
mod a_hung_machined;
mod a_late_cable;
mod a_panic;
mod a_release;
mod a_screen;
mod a_url_in_the_firmware;
mod a_watchdog;
mod a_wrong_clock;
mod an_audit;
mod an_upgrade;
mod any_hardware;
mod back_soon;
mod boot_disk;
mod boots_by_firmware;
mod boots_by_kernel;
mod certificates;
mod damage;
mod documents_change;
mod few_resources;
mod five_seconds_without_machined;
mod from_maintenance_to_configured;
mod generations;
mod installs;
mod killed_again_and_again;
mod kinds_of_disks;
mod loader;
mod many_ways_to_fail;
mod no_serial_port;
mod nocloud;
mod orphans;
mod power_cuts;
mod resets;
mod secure_boot;
mod shared;
mod steady;
mod stock_clients;
mod stops_in_order;
mod trials_and_revisions;
mod two_clones;
mod versions;
mod watched_over_a_restart;
mod with_next_to_nothing;
mod wrong_user_data;

use std::process::ExitCode;

/// The long ones first, those that share a machine apart from each other, so that several are always under way.
fn main() -> ExitCode {
    let stories = [
        an_upgrade::stories(),
        killed_again_and_again::stories(),
        resets::stories(),
        generations::stories(),
        installs::stories(),
        a_release::stories(),
        power_cuts::stories(),
        loader::stories(),
        from_maintenance_to_configured::stories(),
        certificates::stories(),
        documents_change::stories(),
        nocloud::stories(),
        wrong_user_data::stories(),
        trials_and_revisions::stories(),
        a_url_in_the_firmware::stories(),
        an_audit::stories(),
        boots_by_firmware::stories(),
        stops_in_order::stories(),
        back_soon::stories(),
        a_watchdog::stories(),
        secure_boot::stories(),
        with_next_to_nothing::stories(),
        a_screen::stories(),
        two_clones::stories(),
        kinds_of_disks::stories(),
        any_hardware::stories(),
        a_damaged_state::stories(),
        a_damaged_image::stories(),
        a_configured_machine::stories(),
        a_panic::stories(),
        boots_by_kernel::stories(),
        a_bond::stories(),
        a_dhcp_server::stories(),
        a_late_cable::stories(),
        a_hung_machined::stories(),
        a_wrong_clock::stories(),
        five_seconds_without_machined::stories(),
        watched_over_a_restart::stories(),
        no_serial_port::stories(),
        many_ways_to_fail::stories(),
        few_resources::stories(),
        orphans::stories(),
        stock_clients::stories(),
        a_flood::stories(),
    ];
    tests::runner::run(stories.into_iter().flatten().collect(), || shared::MACHINE.stop())
}
