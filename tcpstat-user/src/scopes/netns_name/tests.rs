use super::*;

const ID: &str = "3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de3f2a9c1b04de0123";
const OTHER: &str = "40c03570b6f4c30bc8d69923d37ee698f5cfcced92c7b7df1c47f6f7887378a9";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const INODE: u64 = 4_026_532_345;

fn fill(path: &str) -> String {
    path.replace("UID", UID).replace("OTHER", OTHER).replace("ID", ID)
}

/// The namespace of processes with these cgroup paths, on a host where the pod is known as `shop/web-0`.
fn netns(paths: &[&str], named: &NamedNetns) -> NetnsName {
    let cgroups: Vec<_> =
        paths.iter().map(|path| CgroupName::parse(fill(path).as_bytes())).collect();
    let pods = PodNames::new([fill("shop_web-0_UID")]);
    NetnsName::new(INODE, &cgroups, named, &pods)
}

fn name_and_kind(paths: &[&str]) -> (String, &'static str) {
    let netns = netns(paths, &NamedNetns::default());
    (netns.name, netns.kind.word())
}

#[test]
fn a_namespace_is_named_after_what_it_belongs_to() {
    for (path, name, kind) in [
        ("/kubepods/burstable/podUID/ID", "shop/web-0", "pod"),
        (
            "/kubepods/pod9729a196c4723b60ab401eaff722982d/ID",
            "9729a196c4723b60ab401eaff722982d",
            "pod",
        ),
        ("/system.slice/docker-ID.scope", "3f2a9c1b04de", "container"),
        ("/default/web", "web", "container"),
        ("/lxc.payload.first/init.scope", "first", "container"),
        ("/system.slice/polkit.service", "polkit.service", "named"),
        ("/user.slice/user-1000.slice/session-3.scope", "4026532345", "unnamed"),
        ("/system.slice/crio-conmon-ID.scope", "4026532345", "unnamed"),
        ("/", "4026532345", "unnamed"),
    ] {
        assert_eq!(name_and_kind(&[path]), (name.into(), kind), "{path}");
    }
    assert_eq!(name_and_kind(&[]), ("4026532345".into(), "unnamed"));
}

#[test]
fn the_labels_say_what_the_name_leaves_out() {
    let pod = netns(&["/kubepods/burstable/podUID/ID"], &NamedNetns::default());
    assert_eq!((&*pod.namespace, &*pod.pod, &*pod.pod_uid), ("shop", "web-0", UID));
    assert_eq!((&*pod.container, pod.inode), ("", INODE));
    assert_eq!(pod.cgroup, fill("/kubepods/burstable/podUID"));
    let container = netns(&["/system.slice/docker-ID.scope"], &NamedNetns::default());
    assert_eq!((&*container.container, &*container.pod_uid), (ID, ""));
    let host = NetnsName::host(1);
    assert_eq!((&*host.name, host.kind, &*host.cgroup), ("host", NetnsKind::Host, ""));
}

#[test]
fn what_a_user_or_a_container_chose_stands_behind_its_name() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    for (path, name, kind) in [
        (
            format!("{user}/user.slice/libpod-ID.scope"),
            "user-1000/3f2a9c1b04de".into(),
            "container",
        ),
        (format!("{user}/kubepods/podUID/ID"), format!("user-1000/{UID}"), "pod"),
        (format!("{user}/lxc.payload.host"), "user-1000/host".into(), "container"),
        (format!("{user}/app.slice/sshd.service"), "4026532345".into(), "unnamed"),
        ("/docker/ID/kubelet/kubepods/podUID/OTHER".into(), format!("3f2a9c1b04de/{UID}"), "pod"),
        ("/lxc.payload.x/kubepods/podUID/ID".into(), format!("x/{UID}"), "pod"),
        ("/kubepods/podUID/ID/docker/OTHER".into(), "shop/web-0/40c03570b6f4".into(), "container"),
    ] {
        assert_eq!(name_and_kind(&[&path]), (name, kind), "{path}");
    }
    // A user that claims the UID of a pod gets neither its name nor its UID into the labels.
    let claim = netns(&[&format!("{user}/kubepods/podUID/ID")], &NamedNetns::default());
    assert_eq!((&*claim.namespace, &*claim.pod, &*claim.pod_uid), ("", "", ""));
}

#[test]
fn a_namespace_with_several_containers_or_services_belongs_to_the_least_nested() {
    for (paths, name) in [
        (["/system.slice/ssh.service", "/kubepods/podUID/ID"], "shop/web-0"),
        (["/kubepods/podUID/ID/docker/OTHER", "/kubepods/podUID/ID"], "shop/web-0"),
        (["/docker/OTHER/kubepods/podUID/ID", "/docker/OTHER/a.service"], "40c03570b6f4"),
        (["/docker/OTHER", "/docker/ID"], "3f2a9c1b04de"),
        (["/lxc.payload.a", "/docker/ID"], "3f2a9c1b04de"),
        (["/", "/system.slice/a.service"], "4026532345"),
        (["/system.slice/run-r1.scope", "/system.slice/a.service"], "4026532345"),
        (["/user.slice/user-0.slice/session-3.scope", "/system.slice/a.service"], "a.service"),
        (["/system.slice/b.service", "/system.slice/a.service"], "a.service"),
        (["/system.slice/crio-conmon-ID.scope", "/system.slice/a.service"], "a.service"),
    ] {
        assert_eq!(name_and_kind(&paths).0, name, "{paths:?}");
        assert_eq!(name_and_kind(&[paths[1], paths[0]]).0, name, "{paths:?}, the other way round");
    }
}

#[test]
fn a_name_of_ip_netns_comes_after_containers_and_before_machines() {
    let named = NamedNetns::new([(INODE, "blue")]);
    for (paths, name, kind) in [
        (&["/kubepods/podUID/ID"][..], "shop/web-0", NetnsKind::Pod),
        (&["/docker/ID"], "3f2a9c1b04de", NetnsKind::Container),
        (&["/lxc.payload.a"], "blue", NetnsKind::Named),
        (&["/system.slice/a.service"], "blue", NetnsKind::Named),
        (&[], "blue", NetnsKind::Named),
    ] {
        let found = netns(paths, &named);
        assert_eq!((&*found.name, found.kind), (name, kind), "{paths:?}");
    }
}

#[test]
fn a_name_is_bounded_and_the_longest_pod_fits() {
    let (namespace, pod) = ("n".repeat(63), "p".repeat(253));
    let pods = PodNames::new([format!("{namespace}_{pod}_{UID}")]);
    let cgroup = CgroupName::parse(fill("/kubepods/podUID/ID").as_bytes());
    let found = NetnsName::new(INODE, [&cgroup], &NamedNetns::default(), &pods);
    assert_eq!(found.name, format!("{namespace}/{pod}"));
    let long = format!("/lxc.payload.{}", "ü".repeat(2_000));
    let found = netns(&[&long], &NamedNetns::default());
    assert_eq!(found.name.chars().count(), LONGEST_NAME + 3);
    assert!(found.container.chars().count() <= LONGEST_NAME + 3);
}

#[test]
fn a_namespace_whose_inode_is_unknown_has_another_number_in_its_name() {
    let pods = PodNames::default();
    let unknown = NetnsName::without_inode(4_026_532_008, [], &pods);
    assert_eq!((unknown.name.as_str(), unknown.kind), ("procfs-4026532008", NetnsKind::Unnamed));
    assert_eq!(unknown.inode, 0);
    let service = CgroupName::parse(b"/system.slice/private.service");
    let service = NetnsName::without_inode(4_026_532_008, [&service], &pods);
    assert_eq!((service.name.as_str(), service.inode), ("private.service", 0));
    let gone = NetnsName::without_process(4097);
    assert_eq!((gone.name.as_str(), gone.kind, gone.inode), ("cookie-4097", NetnsKind::Unnamed, 0));
}
