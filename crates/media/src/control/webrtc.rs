//! What an answer settles about encryption, told to the flows.

use super::{Control, unix_us};
use crate::call::{Dialogue, Line};
use crate::epoll::monotonic_ns;
use crate::ng::Refusal;
use crate::ng::request::Request;
use crate::sdp::{Media, Sdp, Way};
use crate::security::{self, SideKeys};
use crate::srtp::sdes::Crypto;
use crate::webrtc::{Peer, Spec};

/// Refuses an answer without what was offered as the only way.
pub(super) fn check_answer(lines: &[Line], sdp: &Sdp<'_>, side: usize) -> Result<(), Refusal> {
    let mut answered = lines.iter().zip(&sdp.media);
    answered.try_for_each(|(line, media)| {
        if media.port == 0 {
            return Ok(());
        }
        let peer = Peer::of(sdp, media);
        line.legs.check_answer(side, &peer, &line.protocol_out)
    })
}

impl Control {
    /// Tells the flows what the answer settles about keys, ICE, DTLS and the port of RTCP; for each
    /// line its `a=crypto` for the offerer, and what is said about the way to us.
    pub(super) fn settle_keys(
        &self,
        dialogue: &mut Dialogue,
        sdp: &Sdp<'_>,
        side: usize,
        theirs: Vec<Option<Crypto>>,
        request: &Request,
    ) -> Vec<(Vec<String>, Way)> {
        let lines = dialogue.lines.iter_mut().zip(&sdp.media).zip(theirs);
        let settle = |((line, media), theirs): ((&mut Line, &Media<'_>), _)| {
            let peer = Peer::of(sdp, media);
            let fingerprint = self.identity.fingerprint();
            let (specs, way) = line.legs.settle(side, peer, fingerprint, request);
            let mut agreed = line.keys.settle(side, theirs, request);
            // DTLS goes before keys in the description, which everybody on the way can read.
            if specs[1 - side].dtls.is_some() {
                agreed.lines.clear();
            }
            self.reach(line, specs, agreed.keys, line.settled_mux(media, side));
            (agreed.lines, way)
        };
        lines.map(settle).collect()
    }

    fn reach(&self, line: &Line, specs: [Spec; 2], keys: [SideKeys; 2], mux: [bool; 2]) {
        let rtcp_index = security::rtcp_index(unix_us());
        let now_ns = monotonic_ns();
        let mut table = self.workers[line.worker].table();
        let Some(flow) = table.get_mut(line.key) else {
            return;
        };
        let agreed = specs.into_iter().zip(keys).zip(mux);
        for (side, ((spec, keys), mux)) in flow.sides.iter_mut().zip(agreed) {
            let dtls = spec.dtls.is_some();
            // Who does not share the port of RTP has another way, and keys of its own, for RTCP.
            let apart = line.is_rtp() && !mux;
            side.mux = mux;
            side.reach(&self.identity, Spec { apart, ..spec }, now_ns);
            if !dtls {
                side.secure(keys, rtcp_index);
            }
        }
    }
}
