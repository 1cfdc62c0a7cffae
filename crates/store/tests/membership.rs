//! Members: added, promoted, removed, replaced; wiped nodes; certificates that name the node.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use raftpbx_store::{
    Member, MemberChange, PeerAddress, ReadMode, Reply, Store, StoreConfig, StoreError, TlsFiles,
    certificates,
};
use support::{Cluster, bulk, command, execute, free_addresses, until};

/// The code of a refused change.
fn refusal(outcome: Result<(), StoreError>) -> String {
    match outcome {
        Err(StoreError::Member(refusal)) => refusal.code,
        other => panic!("not a refusal: {other:?}"),
    }
}

impl Cluster {
    /// A node that is not configured anywhere else; it waits to be added.
    fn newcomer(&mut self, id: u64) -> PeerAddress {
        let addresses = free_addresses(2);
        let address = PeerAddress {
            name: format!("cm-{id}"),
            raft: addresses[0],
            resp: Some(addresses[1]),
        };
        let mut config = self.configs[&1].clone();
        config.id = id;
        config.directory = self.directory.path().join(id.to_string());
        config.raft_listen = address.raft;
        if let Some(resp) = &mut config.resp {
            resp.listen = vec![addresses[1]];
        }
        config.join = true;
        config.peers.insert(id, address.clone());
        self.configs.insert(id, config);
        self.open(id);
        address
    }

    async fn change(&self, at: u64, change: MemberChange) -> Result<(), StoreError> {
        self.nodes[&at].change_members(change).await
    }

    async fn add_voter(&mut self, at: u64, id: u64) {
        let address = self.newcomer(id);
        let add = MemberChange::Add { id, address };
        self.change(at, add).await.expect("added");
        let promoted = self.change(at, MemberChange::Promote { id }).await;
        promoted.expect("promoted");
    }

    fn voters(&self, at: u64) -> Vec<u64> {
        let members = self.nodes[&at].members();
        let voters = members.iter().filter(|member| member.voter);
        voters.map(|member| member.id).collect()
    }

    fn alarms(&self, at: u64) -> Vec<&'static str> {
        let alarms = self.nodes[&at].status().alarms;
        alarms.iter().map(|alarm| alarm.code).collect()
    }

    /// Stops a node and loses its directory.
    async fn wipe(&mut self, id: u64) {
        self.stop(id).await;
        let directory = &self.configs[&id].directory;
        std::fs::remove_dir_all(directory).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_grows_to_five_and_shrinks_to_one() {
    let mut cluster = Cluster::start().await;
    let follower = cluster.follower().await;
    execute(&cluster.nodes[&follower], "SET a 1")
        .await
        .expect("written");
    // Asked at a follower: forwarded to the leader.
    cluster.add_voter(follower, 4).await;
    cluster.add_voter(follower, 5).await;
    for id in 1..=5 {
        until("five voters", || cluster.voters(id) == [1, 2, 3, 4, 5]).await;
        cluster.until_read(id, "GET a", &bulk("1")).await;
    }
    assert_eq!(cluster.alarms(4), [""; 0]);
    // What is done already is not done again.
    let address = cluster.configs[&5].peers[&5].clone();
    let again = MemberChange::Add { id: 5, address };
    cluster.change(4, again).await.expect("the same");
    let again = MemberChange::Promote { id: 5 };
    cluster.change(4, again).await.expect("the same");

    // Leaders among them: whoever leads hands over first.
    for id in 1..=4 {
        let remove = MemberChange::Remove { id };
        cluster.change(5, remove.clone()).await.expect("removed");
        cluster.change(5, remove).await.expect("the same");
        cluster.stop(id).await;
    }
    assert_eq!(cluster.voters(5), [5]);
    until("it leads", || cluster.nodes[&5].status().leading).await;
    let incremented = execute(&cluster.nodes[&5], "INCR a").await;
    assert_eq!(incremented.expect("written"), Reply::Int(2));
    let last = cluster.change(5, MemberChange::Remove { id: 5 }).await;
    assert_eq!(refusal(last), "PBX_MEMBER_LAST");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_that_cannot_work_are_refused() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let unknown = cluster
        .change(leader, MemberChange::Promote { id: 9 })
        .await;
    assert_eq!(refusal(unknown), "PBX_MEMBER_UNKNOWN");
    let address = PeerAddress {
        name: "cm-1".into(),
        raft: free_addresses(1)[0],
        resp: None,
    };
    let elsewhere = MemberChange::Add {
        id: 1,
        address: address.clone(),
    };
    let taken = cluster.change(leader, elsewhere).await;
    assert_eq!(refusal(taken), "PBX_MEMBER_EXISTS");
    let nobody = MemberChange::Add { id: 9, address };
    let nobody = cluster.change(leader, nobody).await;
    assert_eq!(refusal(nobody), "PBX_MEMBER_UNREACHABLE");

    // With one of three down, the next removal would stop the cluster.
    let followers: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    cluster.stop(followers[0]).await;
    let status = || cluster.nodes[&leader].status();
    until("the leader misses it", || {
        let dead = status().peers.into_iter().find(|it| it.id == followers[0]);
        dead.is_some_and(|it| it.last_ack_ms.is_none_or(|ms| ms > 1_300))
    })
    .await;
    let remove = MemberChange::Remove { id: followers[1] };
    let refused = cluster.change(leader, remove).await;
    assert_eq!(refusal(refused), "PBX_MEMBER_QUORUM");
    assert_eq!(cluster.voters(leader), [1, 2, 3]);
    // The dead one may go, and its id never comes back.
    let remove = MemberChange::Remove { id: followers[0] };
    cluster.change(leader, remove).await.expect("removed");
    let address = cluster.configs[&1].peers[&followers[0]].clone();
    let add = MemberChange::Add {
        id: followers[0],
        address,
    };
    let used = cluster.change(leader, add).await;
    assert_eq!(refusal(used), "PBX_MEMBER_ID_USED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_node_is_replaced_in_one_change() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let dead = cluster.follower().await;
    execute(&cluster.nodes[&leader], "SET a 1")
        .await
        .expect("written");
    cluster.stop(dead).await;
    let address = cluster.newcomer(4);
    let replace = MemberChange::Replace {
        old: dead,
        new: 4,
        address: Some(address),
    };
    cluster
        .change(leader, replace.clone())
        .await
        .expect("replaced");
    cluster.change(leader, replace).await.expect("the same");
    let expected: Vec<u64> = (1..=4).filter(|id| *id != dead).collect();
    until("the new node votes", || cluster.voters(4) == expected).await;
    cluster.until_read(4, "GET a", &bulk("1")).await;
    let mode = ReadMode::ReadIndex;
    let read = cluster.nodes[&4]
        .read_confirmed(command("GET a"), mode)
        .await;
    assert_eq!(read.expect("confirmed"), bulk("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wiped_node_is_barred_and_rejoins_under_a_new_id() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let wiped = cluster.follower().await;
    execute(&cluster.nodes[&leader], "SET a 1")
        .await
        .expect("written");
    cluster.wipe(wiped).await;
    cluster.open(wiped);
    until("the alarm", || {
        cluster.alarms(wiped).contains(&"PBX_STORE_WIPED")
    })
    .await;
    let problem = |member: &Member| member.id == wiped && member.problem.is_some();
    until("the leader says why", || {
        cluster.nodes[&leader].members().iter().any(problem)
    })
    .await;
    until("the leader's own alarm about it", || {
        cluster.alarms(leader) == ["PBX_STORE_MEMBER_WIPED"]
    })
    .await;
    // The other follower alone with it is no majority: the wiped node does not vote.
    cluster.stop(leader).await;
    let other = (1..=3).find(|id| ![leader, wiped].contains(id));
    let other = other.expect("three nodes");
    let elections = cluster.nodes[&other].status().term;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..20 {
        look.tick().await;
        assert!(cluster.nodes.values().all(|node| !node.status().leading));
    }
    assert_eq!(cluster.nodes[&other].status().term, elections, "PreVote");
    cluster.open(leader);
    let leader = cluster.leader().await;

    // The same server under another id, at the same address.
    cluster.stop(wiped).await;
    let mut config = cluster.configs[&wiped].clone();
    let address = config.peers.remove(&wiped).expect("configured");
    config.id = 4;
    config.peers.insert(4, address);
    cluster.configs.insert(4, config);
    cluster.open(4);
    let rejoin = MemberChange::Replace {
        old: wiped,
        new: 4,
        address: None,
    };
    cluster.change(leader, rejoin).await.expect("rejoined");
    cluster.until_read(4, "GET a", &bulk("1")).await;
    for id in [4, leader, other] {
        until("no alarm", || cluster.alarms(id).is_empty()).await;
    }
    let restarted = cluster.nodes.len();
    assert_eq!(restarted, 3);
    // A restart is no rejoin: everybody knows everybody.
    for id in cluster.nodes.keys().copied().collect::<Vec<_>>() {
        cluster.stop(id).await;
        cluster.open(id);
    }
    let leader = cluster.leader().await;
    execute(&cluster.nodes[&leader], "INCR a")
        .await
        .expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wiped_node_founds_no_second_cluster_while_the_others_are_down() {
    let mut cluster = Cluster::start().await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    cluster.wipe(1).await;
    cluster.open(1);
    cluster.open(2);
    until("the alarm", || cluster.alarms(1) == ["PBX_STORE_WIPED"]).await;
    assert_eq!(cluster.nodes[&1].members(), []);
    // The two others are the cluster.
    cluster.open(3);
    cluster.leader().await;
}

/// Certificates of one authority, one for each node id.
fn issue(authority: &(String, String), id: u64, directory: &Path) -> TlsFiles {
    std::fs::create_dir_all(directory).expect("made");
    let ips = ["127.0.0.1".parse().expect("an address")];
    let names = [certificates::node_name(id)];
    let issued = certificates::issue(&authority.0, &authority.1, "node", &ips, &names);
    let (certificate, key) = issued.expect("issued");
    let file = |name: &str| directory.join(name);
    std::fs::write(file("certificate.pem"), certificate).expect("written");
    std::fs::write(file("key.pem"), key).expect("written");
    TlsFiles {
        authority: file("authority.pem"),
        certificate: file("certificate.pem"),
        key: file("key.pem"),
    }
}

fn trust(directory: &Path, authorities: &[&(String, String)]) {
    let bundle: String = authorities.iter().map(|it| it.0.as_str()).collect();
    std::fs::write(directory.join("authority.pem"), bundle).expect("written");
}

/// A prepared cluster whose nodes have certificates of their own.
fn with_own_certificates(authority: &(String, String)) -> Cluster {
    let mut cluster = Cluster::prepare();
    let root = cluster.directory.path().to_owned();
    let own = |id: u64, config: &mut StoreConfig| {
        let directory = root.join(format!("tls-{id}"));
        config.tls = Some(issue(authority, id, &directory));
        trust(&directory, &[authority]);
    };
    cluster.configs.iter_mut().for_each(|(id, it)| own(*id, it));
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_certificate_of_another_node_is_refused() {
    let authority = certificates::create_authority().expect("made");
    let mut cluster = with_own_certificates(&authority);
    // Node 3 shows the certificate of node 2.
    let two = cluster.configs[&2].tls.clone();
    cluster.configs.get_mut(&3).expect("three").tls = two;
    (1..=2).for_each(|id| cluster.open(id));
    cluster.open(3);
    // The first start needs everybody, and nobody believes node 3.
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..20 {
        look.tick().await;
        assert!(cluster.nodes.values().all(|node| node.members().is_empty()));
    }
    let directory = cluster.directory.path().join("tls-3");
    let three = issue(&authority, 3, &directory);
    cluster.stop(3).await;
    cluster.configs.get_mut(&3).expect("three").tls = Some(three);
    cluster.open(3);
    cluster.leader().await;
}

/// Writes without pause until told to stop; how many writes were acknowledged and how many failed.
fn writer(store: Store, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<(u64, u64)> {
    tokio::spawn(async move {
        let (mut done, failed) = (0, AtomicU64::new(0));
        while !stop.load(Ordering::Relaxed) {
            match execute(&store, "INCR written").await {
                Ok(Reply::Int(_)) => done += 1,
                _ => {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        (done, failed.into_inner())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn certificates_and_authority_are_rotated_under_load() {
    let old = certificates::create_authority().expect("made");
    let new = certificates::create_authority().expect("made");
    let mut cluster = with_own_certificates(&old);
    (1..=3).for_each(|id| cluster.open(id));
    let leader = cluster.leader().await;
    let term = cluster.nodes[&leader].status().term;
    let stop = Arc::new(AtomicBool::new(false));
    let stores: Vec<Store> = cluster.nodes.values().cloned().collect();
    let writers: Vec<_> = stores
        .iter()
        .map(|store| writer(store.clone(), stop.clone()))
        .collect();
    let root = cluster.directory.path();
    let directory = |id: u64| root.join(format!("tls-{id}"));
    let written = || cluster.nodes[&leader].status().applied;
    // Trust both, then show the new ones, then trust the new one only.
    for step in 0..3 {
        for id in 1..=3 {
            match step {
                0 => trust(&directory(id), &[&old, &new]),
                1 => {
                    issue(&new, id, &directory(id));
                }
                _ => trust(&directory(id), &[&new]),
            }
            let reloaded = cluster.nodes[&id].reload_certificates().await;
            reloaded.expect("they fit together");
        }
        let before = written();
        until("writes go on", || written() > before + 50).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let (done, failed) = writer.await.expect("it runs");
        assert!(done > 0);
        assert_eq!(failed, 0, "of {done} writes");
    }
    let status = cluster.nodes[&leader].status();
    assert_eq!((status.term, status.leading), (term, true), "no election");
    // A node that still has its old certificate is a stranger now.
    cluster.stop(if leader == 3 { 2 } else { 3 }).await;
    let stranger = if leader == 3 { 2 } else { 3 };
    let files = issue(&old, stranger, &cluster.directory.path().join("stale"));
    trust(&cluster.directory.path().join("stale"), &[&old, &new]);
    cluster.configs.get_mut(&stranger).expect("it").tls = Some(files);
    cluster.open(stranger);
    let reachable = |cluster: &Cluster| {
        let members = cluster.nodes[&stranger].members();
        members.iter().filter(|member| member.reachable).count()
    };
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..10 {
        look.tick().await;
        assert_eq!(reachable(&cluster), 1, "only itself");
    }
}
