//! What the registrar does beyond RFC 3261, and whom the engine trusts. Everything has a
//! default: what a small system needs.
use crate::trust::Network;

/// What becomes of one binding more than a user may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It is refused with 403.
    #[default]
    Refuse,
    /// It takes the place of the one refreshed longest ago.
    ReplaceOldest,
}

/// The choices of a host.
#[derive(Clone, Debug, Default)]
pub struct RegistrarPolicy {
    /// One binding too many.
    pub when_full: WhenFull,
    /// URIs of the Service-Route of each 200 to a REGISTER (RFC 3608).
    pub service_routes: Vec<String>,
    /// Push services the host can reach, as `pn-provider` names them (RFC 8599); none: devices
    /// may name any, and nobody is woken.
    pub push_providers: Vec<String>,
    /// How often each registered device is asked with OPTIONS, in seconds; 0 never.
    pub qualify_s: u32,
    /// Keep-alive period asked of devices with outbound, in seconds; 0 leaves it to them.
    pub flow_timer_s: u32,
    /// Sources that are never banned: our own servers, trunks.
    pub trusted: Vec<Network>,
}
