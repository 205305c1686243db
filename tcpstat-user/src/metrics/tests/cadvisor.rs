use super::*;

const WORDS: [&str; 11] = [
    "established",
    "synsent",
    "synrecv",
    "finwait1",
    "finwait2",
    "timewait",
    "close",
    "closewait",
    "lastack",
    "listen",
    "closing",
];

fn compatible(namespaces: Vec<Scope>) -> Values {
    let compat = Compat { node_exporter: false, cadvisor: true };
    Values { compat, ..with_scopes(vec![scopes(ScopeKind::Netns, namespaces)]) }
}

/// The lines of one metric: its type, and eleven states of one container.
fn expected(metric: &str, labels: &str, values: [u64; 11]) -> Vec<String> {
    let samples = WORDS.iter().zip(values);
    let samples =
        samples.map(|(word, value)| format!("{metric}{{{labels},tcp_state=\"{word}\"}} {value}"));
    std::iter::once(format!("# TYPE {metric} gauge")).chain(samples).collect()
}

#[test]
fn a_pod_has_its_sockets_of_each_family_on_its_sandbox() {
    let labels = "id=\"/kubepods/pod0a1b\",name=\"\",image=\"\",container=\"POD\",pod=\"web-0\",\
                  namespace=\"shop\"";
    let ipv4 = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let ipv6 = [3, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    let all = compatible(vec![namespace("shop/web-0", pod())]);
    let (tcp, tcp6) = ("container_network_tcp_usage_total", "container_network_tcp6_usage_total");
    assert_eq!(lines(all.clone(), tcp), expected(tcp, labels, ipv4));
    assert_eq!(lines(all, tcp6), expected(tcp6, labels, ipv6));
}

#[test]
fn a_container_has_its_id_as_name() {
    let all = compatible(vec![namespace("3f2a", container("/docker/3f2a9c"))]);
    let lines = lines(all, "container_network_tcp_usage_total{");
    let labels = "id=\"/docker/3f2a9c\",name=\"3f2a9c\",image=\"\",container=\"3f2a9c\",pod=\"\",\
                  namespace=\"\"";
    assert_eq!(
        lines[0],
        format!("container_network_tcp_usage_total{{{labels},tcp_state=\"established\"}} 2")
    );
    assert_eq!(lines.len(), WORDS.len());
}

/// A process in a container can make network namespaces: series with the same labels would spoil the scrape.
#[test]
fn the_namespaces_of_one_container_are_added_up() {
    let all = ["3f2a", "3f2a-2"].map(|name| namespace(name, container("/docker/3f2a9c")));
    let lines = lines(compatible(all.into()), "container_network_tcp_usage_total{");
    assert_eq!(lines.len(), WORDS.len());
    assert!(lines[0].ends_with("tcp_state=\"established\"} 4"), "{lines:?}");
}

#[test]
fn other_namespaces_other_kinds_and_unseeded_ones_have_no_series() {
    let named = NetnsName { kind: NetnsKind::Named, ..NetnsName::host(1) };
    let unseeded = Scope { connections: None, ..namespace("shop/web-0", pod()) };
    let host = namespace("host", NetnsName::host(2));
    let mut values = compatible(vec![host, namespace("blue", named), unseeded]);
    values.scopes.push(scopes(ScopeKind::Cgroup, vec![scope("/docker/3f2a9c")]));
    assert_eq!(lines(values, "container_"), [""; 0]);
}

#[test]
fn unless_asked_for_the_metrics_are_not_written() {
    let all = compatible(vec![namespace("shop/web-0", pod())]);
    let values = Values { compat: Compat::default(), ..all };
    assert_eq!(lines(values, "container_"), [""; 0]);
}
