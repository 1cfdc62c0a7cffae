//! The stored form of a user's bindings.
use serde::{Deserialize, Serialize};

/// One place where a user can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The Contact URI.
    pub contact: String,
    /// Where the REGISTER came from: `udp/10.77.0.200:5062`.
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
    /// `+sip.instance` with `;reg-id` when given: the identity of the device (RFC 5626).
    pub instance: Option<String>,
    /// User-Agent of the phone.
    pub user_agent: Option<String>,
    /// When this binding was first made, Unix milliseconds.
    pub registered_at: u64,
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
        serde_json::from_slice(json).ok()
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
