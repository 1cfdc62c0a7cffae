//! The stored form of a user's bindings.
use serde::{Deserialize, Serialize};

/// How to wake a device that sleeps (RFC 8599 section 4.1): parameters of its Contact URI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// `pn-provider`: the push service.
    pub provider: String,
    /// `pn-prid`: the device at that service.
    pub prid: String,
    /// `pn-param`: what else that service needs.
    pub param: Option<String>,
}

/// One place where a user can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The Contact URI.
    pub contact: String,
    /// Where requests go: where the REGISTER came from, `udp/10.77.0.200:5062`.
    pub received: String,
    /// Where it arrived: `udp/10.77.0.100:5060`.
    pub local: String,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
    /// When it ends, Unix milliseconds.
    pub expires_at: u64,
    /// Preference, 0 to 1.
    pub q: f32,
    /// `+sip.instance` when given: the identity of the device (RFC 5626 section 4.1).
    pub instance: Option<String>,
    /// `reg-id` of a device that keeps several flows (RFC 5626 section 4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// User-Agent of the phone.
    pub user_agent: Option<String>,
    /// When this binding was first made, Unix milliseconds.
    pub registered_at: u64,
    /// When it was last refreshed, Unix milliseconds.
    #[serde(default)]
    pub refreshed_at: u64,
    /// The proxies on the way to the device, nearest to us first (RFC 3327).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// How to wake the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
    /// An address translator stands between us and the device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nat: bool,
}

impl Binding {
    /// Whether another binding is of the same device, over another flow perhaps.
    pub fn is_same_device(&self, other: &Binding) -> bool {
        self.instance.is_some() && self.instance == other.instance
    }
}

/// All bindings of a user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The user's name.
    pub user: String,
    /// Never empty in the journal.
    pub bindings: Vec<Binding>,
}

impl Registration {
    /// The value stored in the journal.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a registration has only strings and numbers")
    }

    /// Reads a stored value; None when it is not one.
    pub fn from_json(json: &[u8]) -> Option<Registration> {
        let mut registration: Registration = serde_json::from_slice(json).ok()?;
        for binding in &mut registration.bindings {
            // Version 0.1 wrote both into one text.
            let Some(text) = &binding.instance else {
                continue;
            };
            if let Some((instance, reg_id)) = text.split_once(";reg-id=") {
                binding.reg_id = reg_id.parse().ok();
                binding.instance = Some(instance.to_owned());
            }
        }
        Some(registration)
    }

    /// When the last binding ends, Unix milliseconds.
    pub fn expires_at_ms(&self) -> u64 {
        self.bindings
            .iter()
            .map(|binding| binding.expires_at)
            .max()
            .unwrap_or(0)
    }
}
