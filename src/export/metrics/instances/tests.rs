use super::*;
use crate::event::Direction::Sent;
use crate::event::TargetId;
use crate::observation::{Fidelity, Role};

const PLACES: &[InstanceLabel] = &InstanceLabel::OF_PLACES;
const ALL: &[InstanceLabel] = &InstanceLabel::ALL;
const OPEN: Option<(Role, Fidelity)> = Some((Role::Server, Fidelity::Full));

/// Instances with what was begun of them, by number.
struct Scene {
    instances: Instances,
    begun: Vec<Owner>,
    now_ns: u64,
}

impl Scene {
    fn new(targets: &[(&str, &[InstanceLabel])]) -> Self {
        Self { instances: Instances::new(targets.iter().copied()), begun: Vec::new(), now_ns: 1 }
    }

    fn arrive(&mut self, pid: u32, container: &str, unit: &str) {
        let home = Home {
            container_id: container.into(),
            pod_uid: format!("pod of {container}"),
            unit: unit.into(),
        };
        let begun = &mut self.begun;
        self.instances.arrived(0, pid, home, &mut |place, owner| begin(begun, place, owner));
    }

    /// The label values of the series that are moved.
    fn see(&mut self, pid: u32, generation: u32, what: What<'_>) -> Vec<String> {
        let observation = Observation {
            at_ns: self.now_ns,
            tid: 1,
            target: TargetId(0),
            conn: ConnId { tgid: pid, generation, handle: 1, stream: 0 },
            role: Role::Server,
            what,
        };
        let begun = &mut self.begun;
        let at = self.instances.find(&observation, &mut |place, owner| begin(begun, place, owner));
        self.begun[at].iter().map(ToString::to_string).collect()
    }

    /// A connection opens, and may end.
    fn connect(&mut self, pid: u32, generation: u32, names: [&str; 2], ends: bool) -> Vec<String> {
        let [host, path] = names.map(Some);
        let at = self.see(pid, generation, What::Open(Open { host, path, ..Open::default() }));
        assert_eq!(self.see(pid, generation, What::State { from: None, to: OPEN }), at);
        if ends {
            assert_eq!(self.see(pid, generation, What::State { from: OPEN, to: None }), at);
        }
        at
    }
}

fn begin(begun: &mut Vec<Owner>, place: Place, owner: &Owner) {
    match place {
        Place::Next => begun.push(Arc::clone(owner)),
        Place::InsteadOf(at) => begun[at] = Arc::clone(owner),
    }
}

const FRAME: What<'static> = What::Close { code: 1000 };

#[test]
fn processes_of_one_name_are_told_apart_by_where_they_run() {
    let mut scene = Scene::new(&[("node", PLACES)]);
    scene.arrive(1, "", "a.service");
    scene.arrive(2, "", "b.service");
    scene.arrive(3, "c0ffee", "");
    assert_eq!(scene.begun.len(), 3, "they exist before anything passes");
    assert_eq!(scene.see(1, 1, FRAME), ["node", "", "a.service"]);
    assert_eq!(scene.see(2, 2, FRAME), ["node", "", "b.service"]);
    assert_eq!(scene.see(3, 3, FRAME), ["node", "c0ffee", ""]);
    assert_eq!(scene.see(4, 4, FRAME), ["node", "", ""], "nobody said where it is");
}

#[test]
fn a_copy_is_at_home_where_its_parent_is_until_it_moves() {
    let mut scene = Scene::new(&[("node", PLACES)]);
    scene.arrive(1, "", "a.service");
    scene.instances.forked(2, 1);
    assert_eq!(scene.see(2, 1, FRAME), ["node", "", "a.service"]);
    let of_old = scene.connect(2, 2, ["h", "/"], false);
    scene.arrive(2, "", "b.service");
    scene.instances.forked(2, 1);
    assert_eq!(scene.see(2, 3, FRAME), ["node", "", "b.service"]);
    let leaves = What::State { from: OPEN, to: None };
    assert_eq!(scene.see(2, 2, leaves), of_old, "what was counted up there is counted down there");
}

#[test]
fn a_target_without_labels_has_one_instance_beside_one_with_them() {
    let mut scene = Scene::new(&[("plain", &[]), ("node", PLACES)]);
    let begun = &mut scene.begun;
    scene.instances.begin_all(&mut |place, owner| begin(begun, place, owner));
    scene.arrive(1, "", "a.service");
    assert_eq!(scene.see(1, 1, FRAME), ["plain", "", ""]);
    assert_eq!(scene.begun.len(), 1);
}

#[test]
fn connections_are_told_apart_by_host_and_path_to_the_last_word_about_them() {
    let mut scene = Scene::new(&[("node", ALL)]);
    scene.arrive(1, "c0ffee", "a.service");
    let process = ["node", "c0ffee", "pod of c0ffee", "a.service", "", ""];
    assert_eq!(scene.see(1, 1, What::Wire { direction: Sent, bytes: 1 }), process);
    let with = |host, path| ["node", "c0ffee", "pod of c0ffee", "a.service", host, path];
    assert_eq!(
        scene.connect(1, 1, ["Feed.Example:443", "/v1"], true),
        with("feed.example:443", "/v1")
    );
    assert_eq!(scene.connect(1, 2, ["x", "/V1"], false), with("x", "/V1"));
    assert_eq!(scene.see(1, 1, FRAME), with("feed.example:443", "/v1"), "after its end");
    assert_eq!(scene.see(1, 3, FRAME), process);
}

#[test]
fn a_peer_makes_so_many_instances_and_no_more() {
    let mut scene = Scene::new(&[("node", ALL)]);
    scene.arrive(1, "c0ffee", "a.service");
    for n in 0..10_000 {
        scene.now_ns += 1_000_000;
        let at = scene.connect(1, n, ["host", &format!("/{n}")], true);
        let path = if n < BY_CONNECTION_MAX as u32 { format!("/{n}") } else { OTHER.into() };
        let host = if n < BY_CONNECTION_MAX as u32 { "host" } else { OTHER };
        assert_eq!(at, ["node", "c0ffee", "pod of c0ffee", "a.service", host, path.as_str()]);
    }
    assert_eq!(scene.begun.len(), BY_CONNECTION_MAX + 2);
    assert!(scene.instances.connections.len() <= ENDED_MAX + 1);
    let folded = scene.instances.take_folded();
    assert_eq!(folded.len(), 2 * (10_000 - BY_CONNECTION_MAX));
    assert!(folded.contains(&"host") && folded.contains(&"path"));
}

#[test]
fn a_long_host_or_path_is_no_label() {
    let mut scene = Scene::new(&[("node", ALL)]);
    let long = "x".repeat(TEXT_MAX + 1);
    for names in [[long.as_str(), "/"], ["h", long.as_str()]] {
        assert_eq!(scene.connect(1, 1, names, true)[4..], [OTHER, OTHER], "{names:?}");
    }
}

#[test]
fn an_instance_in_which_nothing_is_open_gives_way_after_a_while() {
    let mut scene = Scene::new(&[("node", ALL)]);
    scene.arrive(1, "c0ffee", "");
    scene.connect(1, 0, ["open", "/"], false);
    for n in 1..BY_CONNECTION_MAX as u32 {
        scene.connect(1, n, ["old", &format!("/{n}")], true);
    }
    scene.now_ns += IDLE_NS - 1;
    assert_eq!(scene.connect(1, 200, ["new", "/"], true)[4], OTHER);
    scene.now_ns += 1;
    for n in 300..299 + BY_CONNECTION_MAX as u32 {
        assert_eq!(scene.connect(1, n, ["new", &format!("/{n}")], true)[4], "new");
    }
    assert_eq!(scene.connect(1, 400, ["new", "/400"], true)[4], OTHER, "one is still open");
    assert_eq!(scene.see(1, 0, FRAME)[4], "open");
    assert_eq!(scene.begun.len(), BY_CONNECTION_MAX + 2);
}

#[test]
fn containers_that_come_and_go_do_not_pile_up() {
    let mut scene = Scene::new(&[("node", PLACES)]);
    for n in 0..5_000 {
        scene.now_ns += IDLE_NS / 50;
        scene.arrive(n, &format!("{n:064x}"), "");
        assert_eq!(scene.see(n, n, FRAME)[1], format!("{n:064x}"));
        scene.instances.ended(n);
    }
    assert!(scene.begun.len() <= BY_PROCESS_MAX);
    assert!(scene.instances.processes.len() <= ENDED_MAX + 1);
    assert!(scene.instances.take_folded().is_empty());
}

#[test]
fn processes_beyond_the_bound_are_one_instance_that_says_so() {
    let mut scene = Scene::new(&[("node", PLACES)]);
    for n in 0..150 {
        scene.arrive(n, &format!("{n:064x}"), "");
    }
    assert_eq!(scene.see(149, 1, FRAME), ["node", OTHER, OTHER]);
    assert_eq!(scene.see(0, 1, FRAME)[1], format!("{:064x}", 0));
    assert_eq!(scene.begun.len(), BY_PROCESS_MAX + 1);
    assert_eq!(scene.instances.take_folded().len(), 2 * 50);
}
