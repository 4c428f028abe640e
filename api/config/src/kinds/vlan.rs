//! `kind: Vlan`: a tagged network over another link.

use super::addressing::addressed;
use super::link::LINK_NAME;
use crate::word;
use crate::{Check, Kind};

addressed! {
    /// A tagged network (802.1Q) over another link.
    pub struct Vlan {
        /// The link below: the name of a link, of a bond, or of a `Link` document with `match`.
        pub link: String,
        /// The tag, 1 to 4094.
        pub id: u16,
    }
}

impl Kind for Vlan {
    const KIND: &'static str = "Vlan";
    const NAMED: bool = true;
    const NAME: &'static str = "The link that is made, such as `vlan10`.";
    const DOC: &'static str = "A tagged network (802.1Q) over another link.";
    const KEYED: &'static [(&'static str, &'static str)] = &[("routes", "to")];
    const EXAMPLES: &'static [&'static str] = &["apiVersion: stele/v1
kind: Vlan
name: vlan10
link: bond0
id: 10
addresses:
- 198.51.100.7/24
"];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        found.need("name", name.is_none_or(word::is_link_name), LINK_NAME);
        found.need("link", word::is_name(&self.link) || word::is_link_name(&self.link), LINK_NAME);
        found.need("link", name != Some(&self.link), "a VLAN cannot be over itself");
        found.need("id", (1..=4094).contains(&self.id), "expected 1 to 4094");
        self.addressing.check(found);
    }

    fn claims(&self, name: Option<&str>) -> Vec<String> {
        let mut claims = self.addressing.claims();
        claims.extend(name.map(|name| format!("link {name}")));
        claims.push(format!("VLAN {} of {}", self.id, self.link));
        claims
    }
}
