//! A name server on loopback that knows what it is told.
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};

pub fn name(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}

pub fn naptr(order: u16, service: &str, replacement: &str) -> RData {
    let text = |text: &str| text.as_bytes().to_vec().into_boxed_slice();
    let (flags, service, rule) = (text("s"), text(service), text(""));
    RData::NAPTR(NAPTR::new(
        order,
        0,
        flags,
        service,
        rule,
        name(replacement),
    ))
}

pub fn srv(priority: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, 0, port, name(target)))
}

pub fn loopback() -> RData {
    RData::A(A(Ipv4Addr::LOCALHOST))
}

/// Starts it; it ends with the process.
pub fn serve(records: Vec<(&str, RData)>) -> SocketAddr {
    let records: Vec<Record> = records
        .into_iter()
        .map(|(owner, data)| Record::from_rdata(name(owner), 60, data))
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok((count, source)) = socket.recv_from(&mut buffer) {
            let Ok(question) = Message::from_vec(&buffer[..count]) else {
                continue;
            };
            let reply = answer(&question, &records).to_vec().expect("a message");
            socket.send_to(&reply, source).expect("loopback takes it");
        }
    });
    address
}

fn answer(question: &Message, records: &[Record]) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.metadata.recursion_available = true;
    for query in &question.queries {
        reply.add_query(query.clone());
        let known = records.iter().filter(|record| record.name == query.name);
        if known.clone().next().is_none() {
            reply.metadata.response_code = ResponseCode::NXDomain;
        }
        let wanted = known.filter(|record| record.record_type() == query.query_type);
        reply.add_answers(wanted.cloned());
    }
    reply
}
