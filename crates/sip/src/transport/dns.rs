//! Asking the domain name system for the servers of a name (RFC 3263): NAPTR, SRV, addresses.
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::config::Transport;
use crate::engine::location::{NameQuery, Naptr, Srv, Target, order_services, service_names};
use crate::limits::{NAME_TIMEOUT, NAMES_CACHED_MAX, TARGETS_MAX};

/// The name servers, with what they said lately.
pub struct Dns {
    resolver: TokioResolver,
}

impl Dns {
    /// Asks these servers, or without any those of the operating system.
    pub fn open(servers: &[SocketAddr]) -> Result<Dns, String> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| error.to_string())?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.cache_size = NAMES_CACHED_MAX as u64;
        options.timeout = NAME_TIMEOUT;
        options.attempts = 2;
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Dns { resolver })
    }

    /// The servers to try, best first; none when there is no such name.
    pub async fn targets(&self, question: &NameQuery) -> Vec<Target> {
        let mut targets = Vec::new();
        if question.port.is_none() {
            for (transport, name) in self.services(question).await {
                let records = self.services_of(&name).await;
                for record in order_services(records, |most| rand::random_range(0..=most)) {
                    self.add(&mut targets, transport, &record.target, record.port)
                        .await;
                }
            }
        }
        if targets.is_empty() {
            let transport = question.fallback();
            let port = question.port.unwrap_or(transport.default_port());
            self.add(&mut targets, transport, &question.host, port)
                .await;
        }
        targets
    }

    async fn services(&self, question: &NameQuery) -> Vec<(Transport, String)> {
        let records = match question.transport {
            Some(_) => Vec::new(),
            None => self.naptr_of(&question.host).await,
        };
        service_names(question, records)
    }

    async fn add(&self, targets: &mut Vec<Target>, transport: Transport, host: &str, port: u16) {
        for ip in self.addresses_of(host).await {
            let address = SocketAddr::new(ip, port);
            let target = Target { transport, address };
            if targets.len() < TARGETS_MAX && !targets.contains(&target) {
                targets.push(target);
            }
        }
    }

    async fn answers(&self, name: &str, kind: RecordType) -> Vec<RData> {
        match self.resolver.lookup(name, kind).await {
            Ok(found) => found.answers().iter().map(|r| r.data.clone()).collect(),
            Err(error) => {
                tracing::debug!(name, %kind, %error, "no answer");
                Vec::new()
            }
        }
    }

    async fn naptr_of(&self, host: &str) -> Vec<Naptr> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let answers = self.answers(&full(host), RecordType::NAPTR).await;
        let records = answers.into_iter().filter_map(|data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                service: text(&naptr.services),
                replacement: naptr.replacement.to_utf8(),
            }),
            _ => None,
        });
        records.take(TARGETS_MAX).collect()
    }

    async fn services_of(&self, name: &str) -> Vec<Srv> {
        let answers = self.answers(&full(name), RecordType::SRV).await;
        let records = answers.into_iter().filter_map(|data| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_utf8(),
            }),
            _ => None,
        });
        records.take(TARGETS_MAX).collect()
    }

    async fn addresses_of(&self, host: &str) -> Vec<IpAddr> {
        if let Ok(ip) = host.parse() {
            return vec![ip];
        }
        let (v4, v6) = tokio::join!(
            self.answers(host, RecordType::A),
            self.answers(host, RecordType::AAAA)
        );
        let addresses = v4.into_iter().chain(v6).filter_map(|data| match data {
            RData::A(a) => Some(IpAddr::from(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
            _ => None,
        });
        addresses.take(TARGETS_MAX).collect()
    }
}

/// A domain to the root; only hosts are looked for in the search list of this machine.
fn full(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![
        on_port(ConnectionConfig::udp()),
        on_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(address.ip(), true, connections)
}
