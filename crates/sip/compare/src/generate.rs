//! Well-formed messages from a seed, with what they say: every choice RFC 3261 leaves a sender is
//! thrown for, so that two parsers read the same thing in many dresses.
use crate::readers::Seen;

/// xorshift64*: the same numbers everywhere.
pub struct Dice {
    state: u64,
    /// Whether this message is written as nobody but a test writes it. Other parsers refuse
    /// most of those, and refusing is no disagreement on what a message says.
    odd: bool,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            odd: false,
        }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % end
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn often(&mut self) -> bool {
        self.below(2) == 0
    }
}

const METHODS: &[&str] = &["INVITE", "REGISTER", "OPTIONS", "BYE", "MESSAGE", "NOTIFY"];
const TOKEN: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-.!%*_+`'~";
const STATUSES: &[&str] = &[
    "100 Trying",
    "180 Ringing",
    "200 OK",
    "486 Busy Here",
    "603 No",
];

fn token(dice: &mut Dice, longest: usize) -> String {
    let length = 1 + dice.below(longest);
    (0..length)
        .map(|_| char::from(TOKEN[dice.below(TOKEN.len())]))
        .collect()
}

/// A header name in one of its forms.
fn name(dice: &mut Dice, long: &str, short: &str) -> String {
    match if dice.odd { dice.below(4) } else { 3 } {
        0 => short.to_owned(),
        1 => long.to_lowercase(),
        2 => long.to_uppercase(),
        _ => long.to_owned(),
    }
}

fn colon(dice: &mut Dice) -> &'static str {
    if !dice.odd {
        return ": ";
    }
    dice.one(&[": ", ":", ":  ", " : ", ":\t"])
}

fn address(dice: &mut Dice, tag: Option<&str>) -> String {
    let user = token(dice, 8).replace(['%', '`'], "x");
    let host = dice.one(&[
        "example.com",
        "192.0.2.7",
        "[2001:db8::9]",
        "a.b.c.test:5062",
    ]);
    let uri = format!("sip:{user}@{host}");
    let parameter = tag.map_or(String::new(), |tag| {
        let name = dice.one(&["tag", "tag", "Tag"]);
        format!(";{name}={tag}")
    });
    match dice.below(5) {
        0 => format!("{uri}{parameter}"),
        1 => format!("Bob Smith <{uri}>{parameter}"),
        2 => format!("\"a \\\"b\\\" <c>;tag=no\" <{uri};transport=udp>{parameter}"),
        3 => format!("\"\" <{uri}?x=1>{parameter};more=\"q;r\""),
        _ => format!("<{uri};lr>;first{parameter}"),
    }
}

fn via(dice: &mut Dice, branch: &str) -> String {
    let transport = dice.one(&["UDP", "TCP", "TLS", "WS"]);
    let sent_by = dice.one(&["192.0.2.1:5060", "pc.example.com", "[2001:db8::1]:5061"]);
    let rport = dice.one(&["", ";rport", ";rport=5060;received=192.0.2.9"]);
    if dice.often() {
        format!("SIP/2.0/{transport} {sent_by}{rport};branch={branch}")
    } else {
        format!("SIP/2.0/{transport} {sent_by};branch={branch}{rport}")
    }
}

/// One message and what it says.
pub fn message(dice: &mut Dice) -> (Vec<u8>, Seen) {
    dice.odd = dice.often();
    let method = dice.one(METHODS).to_owned();
    let status = dice.one(STATUSES);
    let is_request = dice.often();
    let start = if is_request {
        format!(
            "{method} sip:{}@example.com SIP/2.0",
            1000 + dice.below(9000)
        )
    } else {
        format!("SIP/2.0 {status}")
    };
    let seen = Seen {
        start: if is_request { &method } else { &status[..3] }.to_owned(),
        call_id: format!("{}@{}", token(dice, 20), token(dice, 8)),
        cseq: u32::try_from(dice.below(1 << 31)).unwrap_or(1),
        method,
        from_tag: Some(token(dice, 12)),
        to_tag: dice.often().then(|| token(dice, 12)),
        branch: Some(format!("z9hG4bK{}", token(dice, 16))),
    };
    let mut lines = headers(dice, &seen);
    let turn = dice.below(lines.len());
    lines.rotate_left(turn);
    let body = dice.one(&["", "v=0\r\n", "a body: with a colon\r\n\r\n"]);
    let length = format!("{}: {}", name(dice, "Content-Length", "l"), body.len());
    let text = format!(
        "{start}\r\n{}\r\n{length}\r\n\r\n{body}",
        lines.join("\r\n")
    );
    (text.into_bytes(), seen)
}

fn headers(dice: &mut Dice, seen: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    let value = via(dice, seen.branch.as_deref().unwrap_or_default());
    let second = via(dice, "z9hG4bKsecond");
    let value = match dice.below(3) {
        0 => format!("{value}, {second}"),
        1 => format!("{value}\r\nVia: {second}"),
        _ => value,
    };
    lines.push(format!("{}{}{value}", name(dice, "Via", "v"), colon(dice)));
    let value = address(dice, seen.from_tag.as_deref());
    lines.push(format!("{}{}{value}", name(dice, "From", "f"), colon(dice)));
    let value = address(dice, seen.to_tag.as_deref());
    lines.push(format!("{}{}{value}", name(dice, "To", "t"), colon(dice)));
    let call_id = &seen.call_id;
    lines.push(format!(
        "{}{}{call_id}",
        name(dice, "Call-ID", "i"),
        colon(dice)
    ));
    let space = dice.one(if dice.odd { &[" ", "  ", "\t"] } else { &[" "] });
    lines.push(format!(
        "CSeq{}{}{space}{}",
        colon(dice),
        seen.cseq,
        seen.method
    ));
    lines.push("Max-Forwards: 70".to_owned());
    let unknown = token(dice, 6).replace('%', "x");
    let fold = if dice.odd { "\r\n  " } else { " " };
    lines.push(format!("X-{unknown}: folded{fold}over two lines"));
    lines
}
