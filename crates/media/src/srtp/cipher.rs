//! Encryption and authentication with session keys.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::keys::Stream;
use super::suite::Suite;

/// Blocks encrypted at once: as many as the processor works on side by side.
const BLOCKS: usize = 8;

/// AES with a key of any length.
pub enum Block {
    /// 16 bytes.
    Short(Aes128),
    /// 24 bytes.
    Middle(Aes192),
    /// 32 bytes.
    Long(Box<Aes256>),
}

impl Block {
    /// From a key of 16, 24 or 32 bytes, which is what every suite has.
    pub fn new(key: &[u8]) -> Block {
        let fits = "a suite's key has the length of an AES key";
        match key.len() {
            16 => Block::Short(Aes128::new_from_slice(key).expect(fits)),
            24 => Block::Middle(Aes192::new_from_slice(key).expect(fits)),
            _ => Block::Long(Box::new(Aes256::new_from_slice(key).expect(fits))),
        }
    }

    /// Adds the stream of counter mode to `data`, from `counter` on (RFC 3711 section 4.1.1).
    pub fn keystream(&self, counter: [u8; 16], data: &mut [u8]) {
        match self {
            Block::Short(cipher) => apply(cipher, counter, data),
            Block::Middle(cipher) => apply(cipher, counter, data),
            Block::Long(cipher) => apply(&**cipher, counter, data),
        }
    }
}

fn apply<C>(cipher: &C, counter: [u8; 16], data: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    let mut next = u128::from_be_bytes(counter);
    for piece in data.chunks_mut(16 * BLOCKS) {
        let mut blocks = [aes::Block::default(); BLOCKS];
        let used = &mut blocks[..piece.len().div_ceil(16)];
        for block in used.iter_mut() {
            *block = next.to_be_bytes().into();
            next = next.wrapping_add(1);
        }
        cipher.encrypt_blocks(used);
        for (bytes, block) in piece.chunks_mut(16).zip(used) {
            for (byte, mask) in bytes.iter_mut().zip(block.iter()) {
                *byte ^= mask;
            }
        }
    }
}

enum Mode {
    /// Counter mode; the HMAC has taken its key already.
    Counter(Block, Hmac<Sha1>),
    Galois(LessSafeKey),
}

/// The session keys of RTP or RTCP in one direction.
pub struct Protection {
    mode: Mode,
    salt: [u8; 14],
    tag_bytes: usize,
}

impl Protection {
    /// From derived keys; see [`super::MasterKey::session`].
    pub fn new(
        suite: Suite,
        stream: Stream,
        key: &[u8],
        hmac: &[u8],
        salt: [u8; 14],
    ) -> Protection {
        let mode = if suite.is_aead() {
            let algorithm = match suite {
                Suite::AeadAes128Gcm => &AES_128_GCM,
                _ => &AES_256_GCM,
            };
            let key = UnboundKey::new(algorithm, key).expect("a suite's key has its length");
            Mode::Galois(LessSafeKey::new(key))
        } else {
            let hmac = Hmac::<Sha1>::new_from_slice(hmac).expect("any length is a key of HMAC");
            Mode::Counter(Block::new(key), hmac)
        };
        let tag_bytes = match stream {
            Stream::Rtp => suite.rtp_tag_bytes(),
            Stream::Rtcp if suite.is_aead() => 16,
            Stream::Rtcp => 10,
        };
        Protection {
            mode,
            salt,
            tag_bytes,
        }
    }

    /// Bytes of a tag.
    pub fn tag_bytes(&self) -> usize {
        self.tag_bytes
    }

    /// Whether the tag covers what stands in `extra` of [`Self::seal`] before, not behind the
    /// payload.
    pub fn is_aead(&self) -> bool {
        matches!(self.mode, Mode::Galois(_))
    }

    /// What the tag of an RTP packet covers besides the packet: counter mode authenticates the
    /// roll-over counter, GCM has it in its nonce.
    pub fn rollover_for_tag<'a>(&self, rollover: &'a [u8; 4]) -> &'a [u8] {
        if self.is_aead() { &[] } else { rollover }
    }

    /// Encrypts `packet[from..length]` and answers the tag, in its first [`Self::tag_bytes`].
    /// `extra` is authenticated too: behind the packet in counter mode; with GCM, behind the
    /// head (`packet[..from]`).
    pub fn seal(
        &self,
        packet: &mut [u8],
        from: usize,
        extra: &[u8],
        ssrc: u32,
        index: u64,
    ) -> [u8; 20] {
        let (head, payload) = packet.split_at_mut(from);
        let mut tag = [0; 20];
        match &self.mode {
            Mode::Counter(block, hmac) => {
                block.keystream(self.counter(ssrc, index), payload);
                tag = code(hmac, packet, extra);
            }
            Mode::Galois(key) => {
                let mut room = [0; RTCP_HEAD_BYTES];
                let aad = joined(&mut room, head, extra);
                let nonce = self.nonce(ssrc, index);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(aad), payload);
                let sealed = sealed.expect("a datagram is shorter than the limit of GCM");
                tag[..16].copy_from_slice(sealed.as_ref());
            }
        }
        tag
    }

    /// Checks and decrypts `packet[from..]`, which ends with its tag; false when the tag is
    /// wrong. With a wrong tag the packet must not be used any more.
    pub fn open(
        &self,
        packet: &mut [u8],
        from: usize,
        extra: &[u8],
        ssrc: u32,
        index: u64,
    ) -> bool {
        let Some(end) = packet
            .len()
            .checked_sub(self.tag_bytes)
            .filter(|end| *end >= from)
        else {
            return false;
        };
        match &self.mode {
            Mode::Counter(block, hmac) => {
                let (content, tag) = packet.split_at_mut(end);
                let right = code(hmac, content, extra);
                if !same(&right[..self.tag_bytes], tag) {
                    return false;
                }
                block.keystream(self.counter(ssrc, index), &mut content[from..]);
                true
            }
            Mode::Galois(key) => {
                let (head, sealed) = packet.split_at_mut(from);
                let mut room = [0; RTCP_HEAD_BYTES];
                let aad = joined(&mut room, head, extra);
                let nonce = self.nonce(ssrc, index);
                key.open_in_place(nonce, Aad::from(aad), sealed).is_ok()
            }
        }
    }

    /// RFC 3711 section 4.1.1: salt, source and index, each at its place.
    fn counter(&self, ssrc: u32, index: u64) -> [u8; 16] {
        let mut counter = [0; 16];
        counter[..14].copy_from_slice(&self.salt);
        add(&mut counter[4..8], &ssrc.to_be_bytes());
        add(&mut counter[8..14], &index.to_be_bytes()[2..]);
        counter
    }

    /// RFC 7714 sections 8.1 and 9.1.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&self.salt[..12]);
        add(&mut nonce[2..6], &ssrc.to_be_bytes());
        add(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The head of an RTCP packet and its index, which GCM authenticates together.
const RTCP_HEAD_BYTES: usize = 8 + 4;

/// Head and extra in one piece; without extra the head is used where it is.
fn joined<'a>(room: &'a mut [u8; RTCP_HEAD_BYTES], head: &'a [u8], extra: &[u8]) -> &'a [u8] {
    if extra.is_empty() {
        return head;
    }
    // Only RTCP has something extra.
    let length = head.len() + extra.len();
    room[..head.len()].copy_from_slice(head);
    room[head.len()..length].copy_from_slice(extra);
    &room[..length]
}

fn code(hmac: &Hmac<Sha1>, packet: &[u8], extra: &[u8]) -> [u8; 20] {
    let mut mac = hmac.clone();
    mac.update(packet);
    mac.update(extra);
    mac.finalize().into_bytes().into()
}

/// Compares in a time that does not depend on where the difference is.
fn same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && difference == 0
}

fn add(to: &mut [u8], bytes: &[u8]) {
    for (byte, more) in to.iter_mut().zip(bytes) {
        *byte ^= more;
    }
}
