//! The service Diagnostics: the controllers, who watches and owns what, and how each is doing.

use std::sync::Arc;

use reconcile::{ControllerStatus, Graph, runtime};
use tonic::{Request, Response, Status};

use api::v1::{self, diagnostics_server::Diagnostics};

/// Serves what the runtime knows of itself.
#[derive(Clone, Debug)]
pub(super) struct Controllers {
    graph: Arc<Graph>,
    status: runtime::Status,
}

impl Controllers {
    /// The graph as it was when the runtime started; it does not change.
    pub(super) fn new(graph: Graph, status: runtime::Status) -> Self {
        Self { graph: Arc::new(graph), status }
    }
}

#[tonic::async_trait]
impl Diagnostics for Controllers {
    async fn controllers(
        &self,
        _: Request<v1::ControllersRequest>,
    ) -> Result<Response<v1::ControllersResponse>, Status> {
        let controllers = self.graph.controllers().map(|node| message(node, self.status.controller(node.name)));
        Ok(Response::new(v1::ControllersResponse { controllers: controllers.collect(), dot: self.graph.dot() }))
    }
}

fn message(node: &reconcile::graph::Node, status: Option<ControllerStatus>) -> v1::Controller {
    let names = |types: &[&'static str]| types.iter().map(|&name| name.to_owned()).collect();
    let mut message = v1::Controller {
        name: node.name.into(),
        watches: names(&node.watches),
        holds: names(&node.holds),
        owns: names(&node.owns),
        shares: names(&node.shares),
        ..Default::default()
    };
    if let Some(status) = status {
        message.set_state(state(status.state));
        message.cycles = status.cycles;
        message.failures = status.failures;
        message.last_error = status.last_error.unwrap_or_default();
        if status.state == runtime::State::BackingOff {
            let next = status.next_cycle.unwrap_or_default().as_millis();
            message.next_retry_ms = u64::try_from(next).unwrap_or(u64::MAX);
        }
    }
    message
}

fn state(state: runtime::State) -> v1::controller::State {
    use v1::controller::State;
    match state {
        runtime::State::Waiting => State::Waiting,
        runtime::State::Running => State::Running,
        runtime::State::Idle => State::Idle,
        runtime::State::Unready => State::Unready,
        runtime::State::BackingOff => State::BackingOff,
        runtime::State::Stopped => State::Stopped,
    }
}
