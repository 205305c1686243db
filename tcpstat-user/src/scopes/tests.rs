//! Cgroup paths from public sources (fixtures/cgroups), and paths that a hostile user can make.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const LINES: &str = include_str!("../../../fixtures/cgroups/lines.tsv");

const ID: &str = "3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de0123";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

/// What the fixture's second column says of a name.
fn shown(name: &CgroupName) -> String {
    let mut parts = Vec::new();
    parts.extend(name.user.map(|user| format!("user={user}")));
    let identities: Vec<_> = name.outer.iter().chain(&name.inner).map(shown_identity).collect();
    parts.extend((!identities.is_empty()).then(|| identities.join(" > ")));
    parts.extend(name.unit.as_ref().map(|unit| format!("unit={}", unit.as_str())));
    parts.extend(name.monitor.then(|| "monitor".into()));
    if parts.is_empty() { "-".into() } else { parts.join("; ") }
}

fn shown_identity(identity: &Identity) -> String {
    let (mut text, runtime) = match identity {
        Identity::Pod { uid, container, runtime } => {
            let mut text = format!("pod={}", uid.as_str());
            if let Some(id) = container {
                write!(text, " container={}", id.as_str()).unwrap();
            }
            (text, runtime)
        }
        Identity::Container { id, runtime } => (format!("container={}", id.as_str()), runtime),
        Identity::Machine { name, runtime } => (format!("machine={name}"), runtime),
    };
    if let Some(runtime) = runtime {
        write!(text, " runtime={}", runtime.word()).unwrap();
    }
    text
}

fn parse(path: &str) -> CgroupName {
    CgroupName::parse(path.as_bytes())
}

#[test]
fn each_path_from_a_public_source_says_what_it_is_for() {
    let lines = LINES.lines().filter(|line| !line.starts_with('#'));
    let mut wrong = Vec::new();
    let mut count = 0;
    for fields in lines.map(|line| line.split('\t').collect::<Vec<_>>()) {
        let [line, expected, source] = fields[..] else { panic!("three fields: {fields:?}") };
        assert!(!source.is_empty(), "{line}: no source");
        let found = shown(&CgroupName::of_process(line.as_bytes()));
        if found != expected {
            wrong.push(format!("{line}\n    expected {expected}\n    found    {found}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 110, "{count} paths");
}

#[test]
fn a_path_from_a_public_source_says_the_same_below_any_other_directory() {
    // WSL 2.9 puts the whole tree below /wsl-user/distro-N/systemd: https://github.com/moby/moby/issues/53531
    for path in ["/system.slice/docker-ID.scope", "/kubepods/burstable/podUID/ID", "/docker/ID"] {
        let path = path.replace("UID", UID).replace("ID", ID);
        let moved = format!("/wsl-user/distro-1/systemd{path}");
        assert_eq!(shown(&parse(&moved)), shown(&parse(&path)), "{moved}");
    }
}

/// Lines as elastic/apm-agent-go internal/apmhostutil/container_linux_test.go and spiffe/spire
/// pkg/agent/plugin/workloadattestor/k8s/testdata/cgroups_pid_in_kind_pod.txt have them.
#[test]
fn with_cgroup_v1_the_hierarchy_that_says_most_is_used() {
    for (text, expected) in [
        (
            "12:devices:/docker/ID\n5:rdma:/\n1:name=systemd:/docker/ID\n0::/system.slice/docker.service\n",
            "container=ID runtime=docker",
        ),
        (
            "13:name=systemd:/docker/ID/kubepods/podUID/ID\n0::/docker/ID/system.slice/containerd.service",
            "container=ID runtime=docker > pod=UID container=ID",
        ),
        (
            "11:pids:/\n2:devices:/system.slice/a.slice\n1:name=systemd:/system.slice/a.slice/a@b.service\n",
            "unit=a@b.service",
        ),
        ("14:name=dsystemd:/\n13:name=systemd:/\n12:pids:/\n", "-"),
        ("11:hugetlb\nrubbish\n", "-"),
        ("", "-"),
    ] {
        let fill = |text: &str| text.replace("UID", UID).replace("ID", ID);
        let found = CgroupName::of_process(fill(text).as_bytes());
        assert_eq!(shown(&found), fill(expected), "{text}");
    }
}

#[test]
fn the_path_in_the_label_is_the_same_for_all_containers_of_a_pod() {
    let pod = format!("/kubepods/burstable/pod{UID}");
    for within in ["", &format!("/{ID}"), &format!("/crio-{ID}.scope/container")] {
        assert_eq!(parse(&format!("{pod}{within}")).path, pod);
    }
    let container = format!("/system.slice/docker-{ID}.scope");
    assert_eq!(parse(&format!("{container}/system.slice/a.service")).path, container);
    assert_eq!(parse("/system.slice/a.service/b").path, "/system.slice/a.service/b");
    assert_eq!(parse("/").path, "/");
}

/// Forms that the programs' sources have, without a path in the fixture.
#[test]
fn forms_that_are_rare_are_known() {
    for (path, expected) in [
        (
            "/garden/bad/6f265890-5165-7fab-6b52-18d1",
            "container=6f265890-5165-7fab-6b52-18d1 runtime=garden",
        ),
        (
            "/machine.slice/systemd-nspawn@a.service/payload/lxc/b",
            "machine=a runtime=nspawn > machine=b runtime=lxc",
        ),
        (
            "/docker/jvifp9a6b1lxa1kuw8bwfcovf",
            "container=jvifp9a6b1lxa1kuw8bwfcovf runtime=buildkit",
        ),
        ("/docker/buildkit/jvifp9a6b1lx", "container=jvifp9a6b1lx runtime=buildkit"),
        ("/mesos/UID", "container=UID runtime=mesos"),
        ("/nomad.slice/reserve.slice/UID.web.scope", "container=UID.web runtime=nomad"),
        ("/lxc.payload/a", "machine=a runtime=lxc"),
        ("/lxc.monitor/a", "monitor"),
        ("/kata_overhead/ID", "container=ID"),
        ("/system.slice/runc-web.scope", "container=web runtime=runc"),
        ("/kubepods/podmy-own-uid/ID", "pod=my-own-uid container=ID"),
        (
            "/kubepods.slice/kubepods-podmy_own.slice/crio-ID.scope",
            "pod=my-own container=ID runtime=cri-o",
        ),
        ("/a.slice/a-kubepods.slice/a-kubepods-podUID.slice", "pod=UID"),
        ("/system.slice/new-ID.scope", "container=ID"),
    ] {
        let fill = |text: &str| text.replace("UID", UID).replace("ID", ID);
        assert_eq!(shown(&parse(&fill(path))), fill(expected), "{path}");
    }
}

#[test]
fn what_only_resembles_a_container_or_pod_is_none() {
    for path in [
        "/docker/shortid",
        "/docker/buildx",
        "/dockerfoo",
        "/system.slice/docker-compose.scope",
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods.slice/kubepods-burstable.slice",
        "/podruntime/runtime",
        "/vendor.slice/podcast",
        "/foo/lxc/bar",
        "/foo/default/bar",
        "/ecs/c71f1a23ddec49b3b1921c06324a1a3a",
        "/nomad.slice/share.slice",
        "/lxc",
        "/lxc.payload.",
        "/machine.slice/machine-.scope",
        "/qemu.slice/.scope",
        ":::",
        "/system.slice:nothing:known",
    ] {
        let name = parse(path);
        assert_eq!(name.identity(), None, "{path}: {name:?}");
    }
}

#[test]
fn names_that_are_not_utf8_or_have_controls_are_no_identity_and_a_safe_label() {
    for (path, label) in [
        (&b"/lxc.payload.a\x1b[2J"[..], r"/lxc.payload.a\u{1b}[2J"),
        (b"/lxc.payload.\xff", r"/lxc.payload.\xff"),
        (br"/machine.slice/machine-a\x2fb.scope", r"/machine.slice/machine-a\x2fb.scope"),
        (br"/machine.slice/machine-a\x0ab.scope", r"/machine.slice/machine-a\x0ab.scope"),
        (b"/default/a b", "/default/a b"),
    ] {
        let name = CgroupName::parse(path);
        assert_eq!((name.identity(), name.path.as_str()), (None, label), "{path:?}");
    }
}

#[test]
fn a_container_cannot_hide_as_the_monitor_of_another() {
    for inner in ["crio-conmon-ID.scope", "lxc.monitor.x", "a.service/libpod-conmon-ID.scope"] {
        for outer in [
            "/docker/ID",
            "/kubepods/podUID/ID",
            "/lxc.payload.x",
            "/system.slice/nerdctl-ID.scope",
        ] {
            let path = format!("{outer}/{inner}").replace("UID", UID).replace("ID", ID);
            let name = parse(&path);
            assert!(name.outer.is_some() && !name.monitor, "{path}");
        }
    }
}

#[test]
fn an_outer_name_stays_however_deep_the_tree_is() {
    let path = format!("/docker/{ID}").repeat(50) + "/lxc.payload.last";
    let name = parse(&path);
    assert!(matches!(name.outer, Some(Identity::Container { .. })));
    assert!(matches!(name.inner, Some(Identity::Machine { .. })));
    assert_eq!(name.path.chars().count(), LONGEST_PATH + "...".len());
}

proptest! {
    #[test]
    fn any_bytes_give_bounded_values(path in any::<Vec<u8>>(), text in any::<Vec<u8>>()) {
        for name in [CgroupName::parse(&path), CgroupName::of_process(&text)] {
            prop_assert!(name.path.chars().count() <= LONGEST_PATH + 3);
            prop_assert!(!name.path.chars().any(char::is_control));
        }
    }

    #[test]
    fn parts_of_real_paths_in_any_order_are_parsed_and_named(
        parts in proptest::collection::vec(
            proptest::sample::select(LINES.split(['/', '\t', ' ']).collect::<Vec<_>>()), 0..12,
        ),
    ) {
        let name = parse(&format!("/{}", parts.join("/")));
        prop_assert!(name.outer.is_some() || name.inner.is_none());
        let netns = NetnsName::new(1, [&name], &NamedNetns::default(), &PodNames::default());
        prop_assert!(!netns.name.is_empty());
        prop_assert!(netns.name.chars().count() <= LONGEST_NAME + 3);
        if name.user.is_some() && !name.monitor && name.outer.is_some() {
            prop_assert!(netns.name.starts_with("user-"));
            prop_assert_eq!(netns.pod_uid, "");
        }
    }
}
