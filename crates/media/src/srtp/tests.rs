use super::keys::Stream;
use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("text"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal"))
        .collect()
}

fn key(suite: Suite, text: &str) -> MasterKey {
    MasterKey::new(suite, &hex(text)).expect("a key of that length")
}

const AES_128: &str = "e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6";
const GCM_128: &str = "000102030405060708090a0b0c0d0e0f a0a1a2a3a4a5a6a7a8a9aaab";
const RTP: &str = "800f1234decafbadcafebabe abababababababababababababababab";
const RTCP: &str = "81c8000bcafebabe abababababababababababababababab";

/// What libsrtp's own tests expect, and RFC 3711 appendix B.3 through the first of them.
#[test]
fn packets_are_those_of_other_implementations() {
    let cases = [
        (
            key(Suite::Aes128CmSha1_80, AES_128),
            "800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb",
            Some("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798"),
        ),
        (
            key(Suite::AeadAes128Gcm, GCM_128),
            "800f1234decafbadcafebabe c5002ede04cfdd2eb91159e0880aa06e \
             d2976826f796b201df3131a127e8a392",
            None,
        ),
    ];
    for (key, srtp, srtcp) in cases {
        let suite = key.suite();
        let mut out = Outbound::new(key.clone(), 0);
        let mut room = padded(&hex(RTP));
        let length = out
            .protect_rtp(&mut room, hex(RTP).len())
            .expect("protected");
        assert_eq!(room[..length], hex(srtp), "{suite}");
        if let Some(srtcp) = srtcp {
            let mut room = padded(&hex(RTCP));
            let length = out
                .protect_rtcp(&mut room, hex(RTCP).len())
                .expect("protected");
            assert_eq!(room[..length], hex(srtcp), "{suite}");
        }
    }
}

fn padded(packet: &[u8]) -> Vec<u8> {
    let mut room = packet.to_vec();
    room.resize(packet.len() + GROWTH_MAX, 0xee);
    room
}

/// RFC 6188 section 7.4: the session keys of a longer master key.
#[test]
fn longer_keys_are_derived_as_in_rfc_6188() {
    let master = key(
        Suite::Aes256CmSha1_80,
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 \
         3b04803de51ee7c96423ab5b78d2",
    );
    // The key stream of the session key with an index of zero and no source: the first block of a
    // derived counter, computed from the derived key and salt of the RFC.
    let derived = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
    let salt = hex("fa31791685ca444a9e07c6c64e93");
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(&salt);
    let mut expected = [0; 16];
    super::cipher::Block::new(&hex(derived)).keystream(counter, &mut expected);
    let mut packet = [0; 16 + 32];
    let session = master.session(Stream::Rtp);
    session.seal(&mut packet[..16], 0, &[], 0, 0);
    assert_eq!(packet[..16], expected);
}

fn rtp(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 160]);
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

fn pair(suite: Suite) -> (Outbound, Inbound) {
    let key = MasterKey::random(suite);
    (Outbound::new(key.clone(), 0), Inbound::new(key, 0))
}

fn protected(out: &mut Outbound, packet: &[u8]) -> Vec<u8> {
    let mut room = padded(packet);
    let length = out.protect_rtp(&mut room, packet.len()).expect("protected");
    room.truncate(length);
    room
}

#[test]
fn every_suite_opens_what_it_protected_once_and_nothing_else() {
    for suite in Suite::ALL {
        let (mut out, mut inbound) = pair(suite);
        // Over the roll-over of the sequence number, with extension and a source listed.
        for sequence in [65_534_u16, 65_535, 0, 1] {
            let mut plain = rtp(sequence, 9, &[7; 40]);
            plain[0] |= 0x11;
            plain[16..20].copy_from_slice(&[0xbe, 0xde, 0, 1]);
            let sent = protected(&mut out, &plain);
            assert_ne!(sent[24..plain.len()], plain[24..], "{suite}");
            let mut forged = sent.clone();
            *forged.last_mut().expect("bytes") ^= 1;
            assert_eq!(inbound.open_rtp(&mut forged), Err(Unopened::Forged));
            let mut opened = sent.clone();
            assert_eq!(inbound.open_rtp(&mut opened), Ok(plain.len()), "{suite}");
            assert_eq!(opened[..plain.len()], plain);
            assert_eq!(inbound.open_rtp(&mut sent.clone()), Err(Unopened::Replayed));
        }
        let plain = hex(RTCP);
        for _ in 0..3 {
            let mut room = padded(&plain);
            let length = out.protect_rtcp(&mut room, plain.len()).expect("protected");
            let mut forged = room[..length].to_vec();
            forged[9] ^= 1;
            assert_eq!(
                inbound.open_rtcp(&mut forged),
                Err(Unopened::Forged),
                "{suite}"
            );
            let mut opened = room[..length].to_vec();
            assert_eq!(inbound.open_rtcp(&mut opened), Ok(plain.len()), "{suite}");
            assert_eq!(opened[..plain.len()], plain);
            let mut again = room[..length].to_vec();
            assert_eq!(inbound.open_rtcp(&mut again), Err(Unopened::Replayed));
        }
    }
}

#[test]
fn an_identifier_of_the_key_is_taken_out() {
    for suite in [Suite::Aes128CmSha1_80, Suite::AeadAes128Gcm] {
        let key = MasterKey::random(suite);
        let mut inbound = Inbound::new(key.clone(), 4);
        let mut out = Outbound::new(key, 0);
        let plain = rtp(1, 9, b"payload");
        let mut sent = protected(&mut out, &plain);
        let at = if suite.is_aead() {
            sent.len()
        } else {
            sent.len() - 10
        };
        sent.splice(at..at, [0, 0, 0, 1]);
        assert_eq!(inbound.open_rtp(&mut sent), Ok(plain.len()), "{suite}");
        assert_eq!(sent[..plain.len()], plain);
    }
}

#[test]
fn derived_keys_follow_from_secret_suite_and_name() {
    let key = |suite, secret: u8, name| MasterKey::derived(suite, &[secret; 32], name);
    for suite in Suite::ALL {
        let one = key(suite, 1, "0 a");
        assert_eq!(one, key(suite, 1, "0 a"));
        assert_ne!(one, key(suite, 2, "0 a"));
        assert_ne!(one, key(suite, 1, "1 a"));
        assert!(
            one.bytes()[suite.key_bytes()..]
                .iter()
                .any(|byte| *byte != 0)
        );
    }
    let (short, long) = (Suite::Aes128CmSha1_32, Suite::Aes128CmSha1_80);
    assert_ne!(key(short, 1, "a").bytes(), key(long, 1, "a").bytes());
}

#[test]
fn forged_sources_do_not_displace_the_real_one() {
    let (mut out, mut inbound) = pair(Suite::Aes128CmSha1_80);
    let first = protected(&mut out, &rtp(1, 9, b"real"));
    assert!(inbound.open_rtp(&mut first.clone()).is_ok());
    for ssrc in 100..200 {
        let mut forged = rtp(1, ssrc, &[0; 30]);
        assert_eq!(inbound.open_rtp(&mut forged), Err(Unopened::Forged));
    }
    assert_eq!(
        inbound.open_rtp(&mut first.clone()),
        Err(Unopened::Replayed)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        n in 0..8_usize,
    ) {
        let suite = Suite::ALL[n];
        let key = MasterKey::random(suite);
        let mut inbound = Inbound::new(key.clone(), n);
        let _ = inbound.open_rtp(&mut bytes.clone());
        let _ = inbound.open_rtcp(&mut bytes.clone());
        let mut out = Outbound::new(key, 0);
        let length = bytes.len();
        bytes.resize(length + GROWTH_MAX, 0);
        let _ = out.protect_rtp(&mut bytes.clone(), length);
        let _ = out.protect_rtcp(&mut bytes, length);
    }
}
