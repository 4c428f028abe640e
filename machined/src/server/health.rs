//! Standard gRPC health: each service and the whole; serving until the machine stops.

use tonic_health::{ServingStatus, server::HealthReporter};

use crate::stop;

/// The whole, and each service of ours.
pub const SERVICES: [&str; 8] = [
    "",
    "stele.v1.Audit",
    "stele.v1.Config",
    "stele.v1.Diagnostics",
    "stele.v1.Enrolment",
    "stele.v1.Log",
    "stele.v1.Machine",
    "stele.v1.Resource",
];

/// Says that everything serves, then, when a stop is asked for, that nothing does.
pub async fn follow(health: HealthReporter, stop: stop::Handle) {
    say(&health, ServingStatus::Serving).await;
    stop.requested().await;
    say(&health, ServingStatus::NotServing).await;
}

async fn say(health: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}
