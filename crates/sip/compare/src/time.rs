//! How long a message takes.
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use raftpbx_sip::message::{Address, Essentials, Message, Name};

use crate::readers::OTHERS;

/// Times each is measured; the best counts, what others on the machine do does not.
const PASSES: usize = 5;

fn head(start: &str, method: &str) -> String {
    format!(
        "{start}\r\nVia: SIP/2.0/UDP 10.77.0.200:5060;branch=z9hG4bK-524287-1---a1b2c3d4;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice\" <sip:1001@lab.raftpbx.test>;tag=a73kszlfl\r\n\
         To: <sip:1002@lab.raftpbx.test>;tag=314159\r\nCall-ID: 3848276298220188511@10.77.0.200\r\n\
         CSeq: 4711 {method}\r\nContact: <sip:1001@10.77.0.200:5060;transport=udp>\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, MESSAGE\r\n\
         Supported: path, outbound, gruu, replaces\r\nUser-Agent: phone/1.0\r\n"
    )
}

fn messages() -> [(&'static str, Vec<u8>); 3] {
    let digest = "Authorization: Digest username=\"1001\", realm=\"lab.raftpbx.test\", \
                  nonce=\"6b03d0ada8c07722869d64d35fb541695964679284792dd52cb236b0\", \
                  uri=\"sip:lab.raftpbx.test\", response=\"94bb174feb18117508d56282f0e8ce23\", \
                  algorithm=MD5, cnonce=\"2c0f0f22e2a85c42\", qop=auth, nc=00000001\r\n";
    let sdp = "v=0\r\no=phone 1 1 IN IP4 10.77.0.200\r\ns=-\r\nc=IN IP4 10.77.0.200\r\nt=0 0\r\n\
               m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
               a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";
    let with_body = |head: String| {
        let length = sdp.len();
        format!("{head}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
    };
    let register = head("REGISTER sip:lab.raftpbx.test SIP/2.0", "REGISTER");
    let invite = head("INVITE sip:1002@lab.raftpbx.test SIP/2.0", "INVITE");
    [
        (
            "REGISTER",
            format!("{register}{digest}Expires: 600\r\nContent-Length: 0\r\n\r\n").into_bytes(),
        ),
        ("INVITE", with_body(invite).into_bytes()),
        (
            "200",
            with_body(head("SIP/2.0 200 OK", "INVITE")).into_bytes(),
        ),
    ]
}

fn best_ns(rounds: u64, bytes: &[u8], read: &dyn Fn(&[u8]) -> bool) -> String {
    if !read(bytes) {
        return "refused".to_owned();
    }
    let passes = (0..PASSES).map(|_| {
        let started = Instant::now();
        for _ in 0..rounds {
            black_box(read(black_box(bytes)));
        }
        started.elapsed().as_nanos() as f64 / rounds as f64
    });
    format!("{:.0}", passes.fold(f64::INFINITY, f64::min))
}

fn parsed(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok()
}

fn typed(bytes: &[u8]) -> bool {
    let Ok(message) = Message::parse(bytes) else {
        return false;
    };
    let contact = message.get(Name::Contact).and_then(Address::parse);
    contact.is_some() && black_box(Essentials::of(&message)).is_ok()
}

fn of_sipmsg(bytes: &[u8]) -> bool {
    use sipmsg::NomParser;
    match sipmsg::get_sip_message_type(bytes) {
        sipmsg::SipMessageType::Request => sipmsg::SipRequest::parse(bytes).is_ok(),
        sipmsg::SipMessageType::Response => sipmsg::SipResponse::parse(bytes).is_ok(),
        sipmsg::SipMessageType::Unknown => false,
    }
}

/// Prints the table.
pub fn run(rounds: u64) -> ExitCode {
    let messages = messages();
    let titles = messages
        .iter()
        .map(|(name, bytes)| format!("{name}, {} B", bytes.len()));
    let titles: Vec<String> = titles.collect();
    println!("parser\t{}", titles.join("\t"));
    let row = |name: &str, read: &dyn Fn(&[u8]) -> bool| {
        let cells = messages
            .iter()
            .map(|(_, bytes)| best_ns(rounds, bytes, read));
        println!("{name}\t{}", cells.collect::<Vec<_>>().join("\t"));
    };
    row("raftpbx", &parsed);
    row("raftpbx, typed", &typed);
    row("rsip 0.4.0", &|bytes| {
        rsip::SipMessage::try_from(bytes).is_ok()
    });
    row("sipmsg 0.2.3", &of_sipmsg);
    for other in OTHERS {
        row(&format!("{}, typed", other.name), &|bytes| {
            (other.read)(bytes).is_some()
        });
    }
    ExitCode::SUCCESS
}
