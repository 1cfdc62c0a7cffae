//! Beside rtpengine's own world: kamailio's rtpengine module commands us, and a call has a real
//! rtpengine in its other half. Passed over, with a word, where those programs are not installed.

mod phones;

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};

use phones::{DEADLINE, Lab, Phone, Talk, relay_address, until};

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: plain system call on a child of ours that was not waited for yet.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        self.0.wait().expect("it ends");
    }
}

fn is_installed(program: &str) -> bool {
    let asked = Command::new(program).arg("-v").output().is_ok();
    if !asked {
        eprintln!("passed over for want of {program}");
    }
    asked
}

fn start(command: &mut Command) -> Running {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(quiet.stderr(Stdio::null()).spawn().expect("start"))
}

const KAMAILIO: &str = r#"
fork=yes
children=1
log_stderror=yes
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "rtpengine.so"
modparam("rtpengine", "rtpengine_sock", "udp:NG")
listen=udp:SIP
request_route {
  if (is_method("INVITE")) {
    if (!rtpengine_offer("replace-origin replace-session-connection ICE=remove rtcp-mux-demux")) {
      sl_send_reply("503", "No media");
      exit;
    }
    t_on_reply("answered");
  }
  if (is_method("BYE")) rtpengine_delete();
  t_relay();
}
onreply_route[answered] {
  if (has_body("application/sdp"))
    rtpengine_answer("replace-origin replace-session-connection ICE=remove rtcp-mux-demux");
}
"#;

/// A phone of SIP over one socket.
struct Sip(UdpSocket);

impl Sip {
    fn at(ip: &str) -> Sip {
        let socket = UdpSocket::bind((ip, 0)).expect("bind");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        Sip(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("bound")
    }

    /// The next message that begins so, and where it came from.
    fn next(&self, beginning: &str) -> (String, SocketAddr) {
        let mut room = [0; 8_192];
        loop {
            let (length, from) = self.0.recv_from(&mut room).expect(beginning);
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            if text.starts_with(beginning) {
                return (text, from);
            }
        }
    }

    fn send(&self, text: &str, to: SocketAddr) {
        self.0.send_to(text.as_bytes(), to).expect("send");
    }
}

fn with_body(head: &str, sdp: &str) -> String {
    let length = sdp.len();
    format!("{head}Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").expect("a body").1
}

fn request(method: &str, from: &Sip, to: &Sip, number: u32) -> String {
    let (own, other) = (from.address(), to.address());
    let tag = if method == "BYE" { ";tag=tb" } else { "" };
    format!(
        "{method} sip:b@{other} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@{own}>;tag=ta\r\nTo: <sip:b@{other}>{tag}\r\n\
         Call-ID: interop\r\nCSeq: {number} {method}\r\nContact: <sip:a@{own}>\r\n"
    )
}

fn answer(invite: &str, own: &Sip, sdp: &str) -> String {
    let kept = ["Via:", "From:", "Call-ID:", "CSeq:", "Record-Route:"];
    let mut head = String::from("SIP/2.0 200 OK\r\n");
    for line in invite.split("\r\n") {
        if kept.iter().any(|name| line.starts_with(name)) {
            head += &format!("{line}\r\n");
        } else if line.starts_with("To:") {
            head += &format!("{line};tag=tb\r\n");
        }
    }
    with_body(
        &format!("{head}Contact: <sip:b@{}>\r\n", own.address()),
        sdp,
    )
}

#[test]
fn kamailio_sets_a_call_up_and_ends_it() {
    if !is_installed("kamailio") {
        return;
    }
    let lab = Lab::with(33_500..=33_519, |config| {
        config.ng_listen = Some(([127, 0, 0, 1], 0).into());
    });
    let ng = lab.engine.ng_address().expect("listening");
    let sip = Sip::at("127.0.0.9").address();
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let config = KAMAILIO.replace("NG", &ng.to_string());
    let config = config.replace("SIP\n", &format!("{sip}\n"));
    file.write_all(config.as_bytes()).expect("written");
    let arguments = ["-DD", "-E", "-m", "32", "-M", "4", "-f"];
    let _kamailio = start(Command::new("kamailio").args(arguments).arg(file.path()));
    // Its module asks whether we are there before it takes calls.
    until("a ping", || lab.engine.stats().ng_requests > 0);

    let [a, b] = ["127.0.0.2", "127.0.0.3"].map(Phone::at);
    let [caller, callee] = ["127.0.0.2", "127.0.0.3"].map(Sip::at);
    let invite = with_body(&request("INVITE", &caller, &callee, 1), &a.sdp(""));
    caller.send(&invite, sip);
    let (invite, proxy) = callee.next("INVITE ");
    let from_b = relay_address(body(&invite));
    callee.send(&answer(&invite, &callee, &b.sdp("")), proxy);
    let (answered, _) = caller.next("SIP/2.0 200");
    let from_a = relay_address(body(&answered));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    talk.assert_both_ways();
    assert_eq!(
        (lab.engine.stats().sessions, lab.engine.stats().ng_errors),
        (1, 0)
    );

    let bye = request("BYE", &caller, &callee, 2);
    caller.send(&format!("{bye}Content-Length: 0\r\n\r\n"), sip);
    until("deleted", || lab.engine.stats().sessions == 0);
    assert_eq!(lab.engine.stats().ng_errors, 0);
}

/// Asks a real rtpengine; its SDP.
fn ask(ng: &UdpSocket, command: &str, sdp: &str, to_tag: &str) -> String {
    let text = |word: &str| format!("{}:{word}", word.len());
    let mut fields = vec![
        ("ICE", "remove"),
        ("call-id", "interop"),
        ("command", command),
        ("from-tag", "ta"),
        ("sdp", sdp),
    ];
    if !to_tag.is_empty() {
        fields.push(("to-tag", to_tag));
    }
    let fields: String = fields
        .iter()
        .map(|(key, value)| text(key) + &text(value))
        .collect();
    let message = format!("{command} d{fields}e");
    let mut room = [0; 8_192];
    let mut length = 0;
    // Nobody listens while it is starting.
    until("an answer", || {
        let asked = ng.send(message.as_bytes());
        length = asked.and_then(|_| ng.recv(&mut room)).unwrap_or(0);
        length > 0
    });
    let answer = String::from_utf8_lossy(&room[..length]).into_owned();
    let at = answer.find("v=0").expect(&answer);
    let digits = answer[..at - 1]
        .rsplit(|c: char| !c.is_ascii_digit())
        .next();
    let bytes: usize = digits
        .and_then(|digits| digits.parse().ok())
        .expect("a length");
    answer[at..at + bytes].to_owned()
}

/// A real rtpengine, and the way to it.
fn rtpengine(ports: [&str; 2]) -> (Running, UdpSocket) {
    let ng = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let listen = Sip::at("127.0.0.1").address();
    ng.connect(listen).expect("connect");
    let wait = std::time::Duration::from_millis(200);
    ng.set_read_timeout(Some(wait)).expect("a deadline");
    let running = start(
        Command::new("rtpengine")
            .args(["-f", "-E", "-L", "3", "--config-file=none", "--table=-1"])
            .args(["--interface=127.0.0.7", "-m", ports[0], "-M", ports[1]])
            .arg(format!("--listen-ng={listen}")),
    );
    (running, ng)
}

/// What a description says, wherever it says it: without addresses, ports and names.
fn said(sdp: &str) -> Vec<String> {
    let line = |line: &str| match line.split_once(' ') {
        Some((media, rest)) if media.starts_with("m=") => {
            let (_, formats) = rest.split_once(' ')?;
            Some(format!("{media} {formats}"))
        }
        _ if line.starts_with("a=rtcp:") => None,
        _ => line.starts_with("a=").then(|| line.to_owned()),
    };
    let mut lines: Vec<String> = sdp.lines().filter_map(line).collect();
    lines.sort();
    lines
}

#[test]
fn a_publisher_hears_from_us_what_it_hears_from_rtpengine() {
    if !is_installed("rtpengine") {
        return;
    }
    let lab = Lab::start(33_540..=33_559);
    let (_running, ng) = rtpengine(["33700", "33799"]);
    let phone = Phone::at("127.0.0.2");
    let lines = "a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\na=ptime:20\r\n";
    let sdp = phone.sdp(lines).replace("RTP/AVP 0", "RTP/AVP 8 0 101");
    let theirs = ask(&ng, "publish", &sdp, "");
    let ours = lab.sdp_of(serde_json::json!({
        "command": "publish", "call-id": "interop", "from-tag": "ta", "sdp": sdp,
        "ICE": "remove",
    }));
    assert_eq!(said(&ours), said(&theirs));
}

#[test]
fn a_call_goes_through_us_and_a_real_rtpengine() {
    if !is_installed("rtpengine") {
        return;
    }
    let lab = Lab::start(33_520..=33_539);
    let (_running, ng) = rtpengine(["33600", "33699"]);
    let [a, b] = ["127.0.0.2", "127.0.0.3"].map(Phone::at);
    let ours = lab.sdp("offer", "interop", ["ta", ""], &a.sdp(""));
    let theirs = ask(&ng, "offer", &ours, "");
    let from_b = relay_address(&theirs);
    let back = ask(&ng, "answer", &b.sdp(""), "tb");
    let from_a = relay_address(&lab.sdp("answer", "interop", ["ta", "tb"], &back));
    let talk = Talk {
        a,
        b,
        from_a,
        from_b,
    };
    for _ in 0..10 {
        talk.assert_both_ways();
    }
    assert_eq!(lab.engine.stats().wrong_source, 0);
}
