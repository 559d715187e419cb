//! Whatever happens, and whenever a host looks: what it was told in pieces is what it would be told
//! at once, and no address is given twice.

// Helpers of tests may panic like tests.
#![allow(clippy::unwrap_used)]

use api::item::{Meaning, Overlay};
use api::report::Adopted;
use api::snapshot::{Answer, Snapshot};
use controld::board::{Board, Held, Outcome};
use controld::context::Context;
use controld::core::{Caller, Settings};
use controld::draft::Draft;
use controld::intent::hosts::{self, Enrolled};
use controld::intent::input::Input;
use controld::intent::{adopt, instances, life, networks, seed};
use controld::model::{Body, Host, KnownFacts};
use controld::shared::Shared;
use controld::world::World;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Enrol,
    Move { host: usize, address: u8 },
    Switch { host: usize, action: &'static str },
    Network,
    Create { networks: usize, count: u8 },
    Act { instance: usize, action: &'static str },
    Free { instance: usize },
    Adopt { host: usize, address: usize },
    Look { host: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let actions =
        prop::sample::select(vec!["start", "stop", "restart", "remove", "restore", "purge"]);
    let switches = prop::sample::select(vec!["activate", "deactivate", "fence"]);
    prop_oneof![
        1 => Just(Event::Enrol),
        2 => (0..4_usize, any::<u8>()).prop_map(|(host, address)| Event::Move { host, address }),
        1 => (0..4_usize, switches).prop_map(|(host, action)| Event::Switch { host, action }),
        1 => Just(Event::Network),
        4 => (0..4_usize, 1..4_u8).prop_map(|(networks, count)| Event::Create { networks, count }),
        6 => (0..20_usize, actions).prop_map(|(instance, action)| Event::Act { instance, action }),
        2 => (0..20_usize).prop_map(|instance| Event::Free { instance }),
        2 => (0..4_usize, 0..9_usize).prop_map(|(host, address)| Event::Adopt { host, address }),
        6 => (0..4_usize).prop_map(|host| Event::Look { host }),
    ]
}

/// A cloud without a store.
struct Cloud {
    ahead: World,
    shared: Arc<Shared>,
    context: Context,
    caller: Caller,
    next_id: i64,
    generation: u64,
    hosts: Vec<i64>,
    networks: Vec<i64>,
    instances: Vec<i64>,
    held: BTreeMap<i64, Snapshot>,
}

impl Cloud {
    fn new() -> Self {
        let board = Board::new("s.1".into(), Overlay::Vxlan, &World::default(), 0);
        let shared = Arc::new(Shared::new(World::default(), board));
        let settings = Settings { address_rest: Duration::ZERO, ..Settings::default() };
        let mut cloud = Self {
            ahead: World::default(),
            context: Context::new(settings, shared.clone()),
            shared,
            caller: Caller { account: 0, admin: true, trusted: BTreeSet::new() },
            next_id: 1,
            generation: 0,
            hosts: Vec::new(),
            networks: Vec::new(),
            instances: Vec::new(),
            held: BTreeMap::new(),
        };
        let context = cloud.context.clone();
        cloud.caller.account = cloud.commit(|draft| seed::seed(draft, &context).unwrap());
        cloud.networks.push(cloud.ahead.default_network().unwrap().id);
        cloud
    }

    fn commit<T>(&mut self, change: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        self.generation += 1;
        let mut draft = Draft::new(&mut self.ahead, &mut self.next_id, self.generation, 1000);
        let made = change(&mut draft);
        let work = draft.finish();
        self.shared.publish(vec![work], self.generation);
        made
    }

    fn happen(&mut self, event: &Event) {
        let pick = |list: &[i64], index: usize| list.get(index % list.len().max(1)).copied();
        let context = self.context.clone();
        match event {
            Event::Enrol if self.hosts.len() < 4 => self.enrol(),
            Event::Enrol => {}
            Event::Move { host, address } => {
                let Some(host) = pick(&self.hosts, *host) else { return };
                let address = Some([192, 0, 2, *address].into());
                let facts = KnownFacts { address, memory_mb: 4096, ..KnownFacts::default() };
                self.commit(|draft| hosts::learn(draft, host, facts, "host"));
            }
            Event::Switch { host, action } => {
                let Some(host) = pick(&self.hosts, *host) else { return };
                // A fenced host refuses.
                let _ = self.commit(|draft| hosts::act(draft, &context, host, action));
            }
            Event::Network => self.network(),
            Event::Create { networks, count } => self.create(*networks, *count),
            Event::Act { instance, action } => {
                let Some(id) = pick(&self.instances, *instance) else { return };
                // Refusals are part of life.
                let _ = self.commit(|draft| life::act(draft, &context, id, action, false));
            }
            Event::Free { instance } => {
                let Some(id) = pick(&self.instances, *instance) else { return };
                let purged = controld::model::Want::Purged;
                if self.ahead.row(id).unwrap().instance().unwrap().want == purged {
                    let free = controld::judge::Judgement::Free;
                    self.commit(|draft| life::judged(draft, &context, id, free));
                }
            }
            Event::Adopt { host, address } => {
                let Some(host) = pick(&self.hosts, *host) else { return };
                self.adopt(host, *address);
            }
            Event::Look { host } => {
                let Some(host) = pick(&self.hosts, *host) else { return };
                self.look(host);
            }
        }
    }

    fn enrol(&mut self) {
        let host = Host {
            number: 0,
            hostname: "host".into(),
            machine_id: String::new(),
            identity: String::new(),
            certificate: String::new(),
            certificate_sha256: format!("{}", self.hosts.len()),
            key_sha256: String::new(),
            token: 0,
            simulated: true,
            active: true,
            fenced: false,
            facts: KnownFacts { memory_mb: 4096, ..KnownFacts::default() },
        };
        let enrolled = Enrolled { token: 0, host, uuid: uuid::Uuid::new_v4().to_string() };
        let account = self.caller.account;
        let (id, _) = self.commit(|draft| hosts::enrol(draft, account, enrolled).unwrap());
        self.hosts.push(id);
    }

    fn network(&mut self) {
        let (context, caller) = (self.context.clone(), self.caller.clone());
        let number = self.networks.len();
        let id = self.commit(|draft| {
            let network =
                networks::create_network(draft, &context, &caller, &input(json!({}))).unwrap();
            let fields = json!({
                "networkId": format!("1n{network}"),
                "networkAddress": format!("10.{number}.0.0"),
                "cidrSize": 27,
            });
            networks::create_subnet(draft, &caller, &input(fields)).unwrap();
            network
        });
        self.networks.push(id);
    }

    fn create(&mut self, networks: usize, count: u8) {
        let (context, caller) = (self.context.clone(), self.caller.clone());
        let ids: Vec<String> =
            self.networks.iter().skip(networks).take(2).map(|id| format!("1n{id}")).collect();
        let mut fields = json!({"imageUuid": "docker:a", "count": count});
        if !ids.is_empty() {
            fields["networkIds"] = json!(ids);
        }
        let made = self.commit(|draft| {
            instances::create(draft, &context, &caller, "container", &input(fields)).unwrap()
        });
        self.instances.extend(made);
    }

    fn adopt(&mut self, host: i64, address: usize) {
        let network = self.networks[0];
        let granted: Vec<i64> = self.ahead.presence().granted(host, network).collect();
        let vni = self.ahead.row(network).unwrap().network().unwrap().vni.unwrap();
        let address = granted.get(address).and_then(|id| self.ahead.row(*id)?.address().cloned());
        let adopted: Vec<Adopted> = address
            .into_iter()
            .map(|address| Adopted {
                docker_id: format!("{}", address.ip),
                name: "by-hand".into(),
                image: "a".into(),
                vni,
                ip: address.ip,
                mac: address.mac,
                running: true,
            })
            .collect();
        let context = self.context.clone();
        self.commit(|draft| adopt::adopt(draft, &context, host, &adopted));
    }

    /// A host polls, and what it holds then is compared with the whole truth.
    fn look(&mut self, host: i64) {
        let held = self.held.entry(host).or_default();
        let state = self.shared.read();
        let asks = Held { store: held.store.clone(), generation: held.generation, hash: held.hash };
        let answer = match state.board.answer(host, &asks) {
            Outcome::Same => None,
            Outcome::Full(full) => {
                assert_eq!(held.generation, 0, "a delta was to be had");
                Some(Answer::Full(full))
            }
            Outcome::Delta(delta) => Some(Answer::Delta(delta)),
        };
        if let Some(answer) = answer {
            *held = held.apply(answer).unwrap();
        }
        let Outcome::Full(full) = state.board.answer(host, &Held::default()) else {
            panic!("the whole truth was asked for")
        };
        let whole = Snapshot::default().apply(Answer::Full(full)).unwrap();
        assert_eq!(held.hash, whole.hash);
        assert!(held.items.keys().eq(whole.items.keys()));
        // A board compiled at once from the same rows says the same.
        let anew = Board::new("s.1".into(), Overlay::Vxlan, &state.world, self.generation);
        assert_eq!(anew.hash(host), held.hash);
    }

    /// No two endpoints share an address, and each belongs to somebody.
    fn check(&self) {
        let mut seen = BTreeSet::new();
        for row in self.ahead.of_kind("ipAddress") {
            let Body::Address(address) = &row.body else { continue };
            assert!(seen.insert((address.network, address.ip)), "{} twice", address.ip);
            assert!(address.nic.is_some() || address.granted.is_some(), "{} leaked", address.ip);
            if let Some(nic) = address.nic.and_then(|nic| self.ahead.row(nic)?.nic()) {
                assert_eq!(nic.address, Some(row.id));
            }
        }
    }
}

fn input(fields: Value) -> Input {
    Input::from(fields.as_object().cloned().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn pieces_add_up(events in prop::collection::vec(event(), 1..60)) {
        let mut cloud = Cloud::new();
        cloud.happen(&Event::Enrol);
        for event in &events {
            cloud.happen(event);
            cloud.check();
        }
        for host in cloud.hosts.clone() {
            cloud.look(host);
            for item in cloud.held[&host].items.values() {
                prop_assert!(!matches!(Meaning::read(item).unwrap(), Meaning::Unknown));
            }
        }
    }
}
