//! The graph's text, byte for byte.

use super::*;
use crate::controller::Next;
use crate::cycle::{Cycle, CycleError};
use crate::runtime::Runtime;
use crate::samples::{Address, Link, Wait};
use crate::store::Store;

struct Links;
struct Dhcp;

impl Controller for Links {
    const NAME: &'static str = "network/link";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Link>().share::<Wait>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        Ok(Next::OnChange)
    }
}

impl Controller for Dhcp {
    const NAME: &'static str = "network/dhcp";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.share::<Wait>().hold::<Link>().watch::<Address>().watch::<Address>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        Ok(Next::OnChange)
    }
}

#[test]
fn the_order_of_adding_does_not_matter() {
    let mut one = Graph::new();
    one.add::<Links>().add::<Dhcp>();
    let mut two = Graph::new();
    two.add::<Dhcp>().add::<Links>();
    assert_eq!((one.dot(), one.markdown()), (two.dot(), two.markdown()));
    assert_eq!(one.unwritten(), BTreeMap::from([("address", BTreeSet::from(["network/dhcp"]))]));
}

#[test]
fn the_runtime_draws_writers_too() {
    let store = Store::new();
    let _addresses = store.writer::<Address>("boot").unwrap();
    let mut runtime = Runtime::new(store);
    runtime.register(Dhcp).register(Links);
    let graph = runtime.graph();
    assert!(graph.unwritten().is_empty());
    let dot = r#"digraph controllers {
  rankdir=LR;
  "boot" [shape=box];
  "network/dhcp" [shape=box];
  "network/link" [shape=box];
  "type address" [label="address"];
  "type link" [label="link"];
  "type wait" [label="wait"];
  "type address" -> "network/dhcp";
  "type link" -> "network/dhcp" [style=bold];
  "network/dhcp" -> "type wait" [style=dashed];
  "network/link" -> "type link";
  "network/link" -> "type wait" [style=dashed];
  "boot" -> "type address";
}
"#;
    assert_eq!(graph.dot(), dot);
    let markdown = r#"```mermaid
flowchart LR
  boot["boot"]
  network_dhcp["network/dhcp"]
  network_link["network/link"]
  type_address(["address"])
  type_link(["link"])
  type_wait(["wait"])
  type_address --> network_dhcp
  type_link ==> network_dhcp
  network_dhcp -.-> type_wait
  network_link --> type_link
  network_link -.-> type_wait
  boot --> type_address
```

| controller | watches | holds | owns | shares |
|---|---|---|---|---|
| network/dhcp | address | link |  | wait |
| network/link |  |  | link | wait |

| type | written by, outside of the controllers |
|---|---|
| address | boot |
"#;
    assert_eq!(graph.markdown(), markdown);
    assert_eq!(serde_json::to_value(&graph).unwrap()["controllers"]["network/link"]["owns"][0], "link");
}
