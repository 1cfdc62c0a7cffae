//! A browser, or another party whose keys come from DTLS, as far as the relay sees it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use raftpbx_media::srtp::{GROWTH_MAX, Inbound, MasterKey, Outbound, Suite};
use raftpbx_media::webrtc::stun::{self, Check, Class, Message};
use raftpbx_media::webrtc::{Credentials, Fingerprint};

use super::{DEADLINE, Phone, line};

/// The party.
pub struct Browser {
    pub phone: Phone,
    pub ice: Option<Credentials>,
    /// It only answers checks.
    pub lite: bool,
    /// RTCP shares the port of RTP, as far as it is concerned.
    pub mux: bool,
    certificate: DtlsCertificate,
    pub fingerprint: String,
    /// What a handshake on the port of RTP, and of RTCP, has made.
    pub keys: [Option<(Outbound, Inbound)>; 2],
    sequence: u16,
}

impl Browser {
    pub fn new(ip: &str, ice: bool) -> Browser {
        let certificate = certificate();
        let phone = Phone::at(ip);
        let soon = Duration::from_millis(50);
        for socket in [&phone.rtp, &phone.rtcp] {
            socket.set_read_timeout(Some(soon)).expect("a deadline");
        }
        Browser {
            phone,
            ice: ice.then(Credentials::random),
            lite: false,
            mux: true,
            fingerprint: Fingerprint::of(&certificate.certificate).to_string(),
            certificate,
            keys: [None, None],
            sequence: 0,
        }
    }

    /// The same with RTCP on a port of its own.
    pub fn apart(ip: &str, ice: bool) -> Browser {
        Browser {
            mux: false,
            ..Browser::new(ip, ice)
        }
    }

    /// From now on it shows a certificate that its descriptions did not name.
    pub fn change_certificate(&mut self) {
        self.certificate = certificate();
    }

    fn socket(&self, rtcp: bool) -> &UdpSocket {
        if rtcp {
            &self.phone.rtcp
        } else {
            &self.phone.rtp
        }
    }

    pub fn sdp(&self, setup: &str) -> String {
        let mux = if self.mux { "a=rtcp-mux\r\n" } else { "" };
        let mut more = format!(
            "{mux}a=mid:0\r\na=setup:{setup}\r\na=fingerprint:{}\r\n",
            self.fingerprint
        );
        if let Some(ice) = &self.ice {
            more += &format!("a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n", ice.name, ice.password);
            let ports: &[bool] = if self.mux { &[false] } else { &[false, true] };
            for (component, rtcp) in (1..).zip(ports) {
                let at = self.socket(*rtcp).local_addr().expect("bound");
                let (ip, port) = (at.ip(), at.port());
                more += &format!("a=candidate:1 {component} UDP 1 {ip} {port} typ host\r\n");
            }
        }
        let lite = if self.lite { "a=ice-lite\r\n" } else { "" };
        let sdp = self
            .phone
            .sdp(&more)
            .replace("RTP/AVP", "UDP/TLS/RTP/SAVPF");
        sdp.replace("t=0 0\r\n", &format!("t=0 0\r\na=group:BUNDLE 0\r\n{lite}"))
    }

    fn receive(&self, rtcp: bool) -> Option<Vec<u8>> {
        let mut buffer = [0; 2_048];
        let (length, _) = self.socket(rtcp).recv_from(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }

    /// Checks the relay with its credentials; whether it answered.
    pub fn check(&self, to: SocketAddr, relay: &Credentials) -> bool {
        self.check_at(false, to, relay)
    }

    /// The same from the port of RTP or RTCP.
    pub fn check_at(&self, rtcp: bool, to: SocketAddr, relay: &Credentials) -> bool {
        let own = self.ice.as_ref().expect("ICE");
        let check = Check {
            username: &format!("{}:{}", relay.name, own.name),
            password: &relay.password,
            priority: 1,
            controlling: true,
            tie_breaker: 1,
            nominates: true,
        };
        let bytes = stun::request([7; 12], &check);
        self.socket(rtcp).send_to(&bytes, to).expect("send");
        let Some(answer) = self.receive(rtcp) else {
            return false;
        };
        let answer = Message::parse(&answer).expect("STUN");
        assert!(answer.is_genuine(&relay.password));
        answer.class == Class::Success
    }

    /// Answers the relay's checks on a port, as a lite party does, until one came.
    pub fn answer_check(&self, rtcp: bool, to: SocketAddr) {
        let own = self.ice.as_ref().expect("ICE");
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "no check came");
            let Some(packet) = self.receive(rtcp) else {
                continue;
            };
            let check = Message::parse(&packet).expect("STUN");
            assert!(check.is_genuine(&own.password) && check.nominates);
            let answer = stun::success(check.transaction, to, &own.password);
            self.socket(rtcp).send_to(&answer, to).expect("send");
            return;
        }
    }

    /// Runs the handshake; whether it ended with keys before `patience` was over.
    pub fn shake(&mut self, to: SocketAddr, active: bool, patience: Duration) -> bool {
        self.shake_at(false, to, active, patience)
    }

    /// The same on the port of RTP or RTCP, each time with a new connection.
    pub fn shake_at(
        &mut self,
        rtcp: bool,
        to: SocketAddr,
        active: bool,
        patience: Duration,
    ) -> bool {
        let at = usize::from(rtcp);
        self.keys[at] = None;
        let config = Arc::new(Config::default());
        let mut dtls = Dtls::new_12(config, self.certificate.clone(), Instant::now());
        dtls.set_active(active);
        let deadline = Instant::now() + patience;
        let mut room = vec![0; 4_096];
        while Instant::now() < deadline {
            if dtls.handle_timeout(Instant::now()).is_err() {
                return false;
            }
            loop {
                match dtls.poll_output(&mut room) {
                    Output::Packet(packet) => {
                        self.socket(rtcp).send_to(packet, to).expect("send");
                    }
                    Output::KeyingMaterial(material, profile) => {
                        assert_eq!(profile, SrtpProfile::AEAD_AES_256_GCM);
                        self.keys[at] = Some(keys(&material, active));
                    }
                    Output::Timeout(_) => break,
                    _ => {}
                }
            }
            // The last flight of a handshake is answered, or nothing more is to come.
            if self.keys[at].is_some() {
                return true;
            }
            let packet = self.receive(rtcp);
            if let Some(packet) = packet.filter(|packet| (20..64).contains(&packet[0]))
                && dtls.handle_packet(&packet).is_err()
            {
                return false;
            }
        }
        false
    }

    pub fn say(&mut self, to: SocketAddr, payload: &str) {
        self.send(to, payload.as_bytes());
    }

    pub fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        let mut packet = vec![0x80, 0];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 8]);
        packet.extend_from_slice(payload);
        self.sequence += 1;
        let length = packet.len();
        packet.resize(length + GROWTH_MAX, 0);
        let (out, _) = self.keys[0].as_mut().expect("keys");
        let length = out.protect_rtp(&mut packet, length).expect("protected");
        self.phone.rtp.send_to(&packet[..length], to).expect("send");
    }

    pub fn hear(&mut self) -> String {
        String::from_utf8_lossy(&self.payload()).into_owned()
    }

    /// The payload of the next packet of sound.
    pub fn payload(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "nothing is heard");
            let sound = |packet: &Vec<u8>| packet[0] >= 128 && !is_report(packet);
            let Some(mut packet) = self.receive(false).filter(sound) else {
                continue;
            };
            let (_, inbound) = self.keys[0].as_mut().expect("keys");
            let length = inbound.open_rtp(&mut packet).expect("genuine");
            return packet[12..length].to_vec();
        }
    }
    /// Sends an empty report of `source` from the port of RTP or RTCP, with the keys of that port.
    pub fn report(&mut self, rtcp: bool, to: SocketAddr, source: u32) {
        let mut packet = vec![0x80, 201, 0, 1];
        packet.extend_from_slice(&source.to_be_bytes());
        let length = packet.len();
        packet.resize(length + GROWTH_MAX, 0);
        let (out, _) = self.keys[usize::from(rtcp)].as_mut().expect("keys");
        let length = out.protect_rtcp(&mut packet, length).expect("protected");
        let socket = self.socket(rtcp);
        socket.send_to(&packet[..length], to).expect("send");
    }

    /// Source of the next report on a port, which must be genuine by the keys of that port.
    pub fn hear_report(&mut self, rtcp: bool) -> u32 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < deadline, "no report comes");
            let Some(mut packet) = self.receive(rtcp).filter(|packet| is_report(packet)) else {
                continue;
            };
            let (_, inbound) = self.keys[usize::from(rtcp)].as_mut().expect("keys");
            inbound.open_rtcp(&mut packet).expect("genuine");
            return u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        }
    }
}

/// Whether a packet is RTCP and not RTP (RFC 5761 section 4).
fn is_report(packet: &[u8]) -> bool {
    packet.len() >= 8 && packet[0] >= 128 && (192..=223).contains(&packet[1])
}

fn certificate() -> DtlsCertificate {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::default();
    let certificate = params.self_signed(&key).expect("a certificate");
    DtlsCertificate {
        certificate: certificate.der().to_vec(),
        private_key: key.serialize_der(),
    }
}

/// RFC 5764 section 4.2, for AEAD_AES_256_GCM.
fn keys(material: &[u8], active: bool) -> (Outbound, Inbound) {
    let one = |n: usize| {
        let key = &material[n * 32..(n + 1) * 32];
        let salt = &material[64 + n * 12..64 + (n + 1) * 12];
        MasterKey::new(Suite::AeadAes256Gcm, &[key, salt].concat()).expect("a key")
    };
    let (ours, theirs) = (usize::from(!active), usize::from(active));
    (Outbound::new(one(ours), 0), Inbound::new(one(theirs), 0))
}

/// What the relay wrote about its ICE.
pub fn relays_credentials(sdp: &str) -> Credentials {
    Credentials {
        name: line(sdp, "a=ice-ufrag:").into(),
        password: line(sdp, "a=ice-pwd:").into(),
    }
}
