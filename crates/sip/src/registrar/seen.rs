//! Where a device can be reached, judged by what its REGISTER says and where it came from.
use std::net::SocketAddr;

use crate::config::Listen;
use crate::engine::flow::Flow;
use crate::message::{Uri, Via};

/// The address for requests to a Contact, and whether an address translator stands between.
///
/// Requests go back where the REGISTER came from: through a translator or a firewall nothing
/// else arrives, and on a connection there is nothing else. The one exception is a device
/// that sends from another port than it listens on. It says so: on UDP, no `rport` in its
/// Via, and Via and Contact both name the very address we see. Then the Contact's port holds.
pub fn seen(flow: &Flow, via: &Via<'_>, contact: &str) -> (Listen, bool) {
    let peer = flow.peer();
    let source = flow.remote.ip();
    let uri = Uri::parse(contact);
    let contact_ip = uri.and_then(|uri| uri.ip());
    let via_ip = via.host.parse().ok();
    let named = contact_ip == Some(source) && via_ip == Some(source);
    if flow.transport.is_reliable() || via.params.get("rport").is_some() || !named {
        let hidden = contact_ip.is_some_and(|ip| ip != source)
            || via_ip.is_some_and(|ip| ip != source)
            || !flow.transport.is_reliable() && via.port.unwrap_or(5060) != flow.remote.port();
        return (peer, hidden);
    }
    let port = uri.and_then(|uri| uri.port).unwrap_or(5060);
    let address = SocketAddr::new(source, port);
    (Listen { address, ..peer }, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Transport;

    fn seen_from(transport: Transport, via: &str, contact: &str) -> (u16, bool) {
        let flow = Flow {
            transport,
            local: "192.0.2.9:5060".parse().expect("an address"),
            remote: "192.0.2.7:4000".parse().expect("an address"),
        };
        let value = format!("SIP/2.0/UDP {via}");
        let via = Via::parse(&value).expect("valid");
        let (listen, nat) = seen(&flow, &via, contact);
        assert_eq!(listen.address.ip(), flow.remote.ip());
        (listen.address.port(), nat)
    }

    #[test]
    fn requests_go_back_to_the_source_of_a_device_behind_a_translator() {
        for (via, contact) in [
            ("10.0.0.5:5060;rport", "sip:a@10.0.0.5:5060"),
            ("10.0.0.5:5060", "sip:a@10.0.0.5:5060"),
            ("192.0.2.7:5060;rport", "sip:a@192.0.2.7:5060"),
            ("192.0.2.7:4000", "sip:a@10.0.0.5"),
        ] {
            assert_eq!(seen_from(Transport::Udp, via, contact), (4000, true));
        }
    }

    #[test]
    fn a_device_that_listens_on_another_port_is_reached_there() {
        let asked = seen_from(Transport::Udp, "192.0.2.7:5062", "sip:a@192.0.2.7:5062");
        assert_eq!(asked, (5062, false));
        let usual = seen_from(Transport::Udp, "192.0.2.7", "sip:a@192.0.2.7");
        assert_eq!(usual, (5060, false));
    }

    #[test]
    fn a_connection_is_its_own_way_back() {
        let direct = seen_from(Transport::Tcp, "192.0.2.7:5060", "sip:a@192.0.2.7:5060");
        assert_eq!(direct, (4000, false));
        let hidden = seen_from(Transport::Tcp, "x.invalid", "sip:a@10.1.1.1");
        assert_eq!(hidden, (4000, true));
    }
}
