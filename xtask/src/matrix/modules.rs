//! The modules that the tests need, with those that they need themselves, in the order of loading.
//!
//! Debian's packages have no `modules.dep`, which is made where they are installed: what a module
//! depends on is read from the module.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::archive::find;
use crate::target::Workspace;

/// `tun` plays the peers; the others answer `ss` and node_exporter.
const NEEDED: [&str; 4] = ["tun", "veth", "inet_diag", "tcp_diag"];

/// The names of the modules, one a line, as they are to be loaded.
pub(crate) const ORDER: &str = "order";

/// Takes the modules from the tree of a kernel into `folder`, decompressed, with their [`ORDER`].
pub(crate) fn extract(workspace: &Workspace, tree: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let list = tree.join("modules.builtin");
    let builtin =
        fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let builtin: Vec<_> = builtin.lines().map(module_name).collect();
    let mut depends = BTreeMap::new();
    let mut waiting: Vec<String> = NEEDED.map(str::to_owned).to_vec();
    while let Some(name) = waiting.pop() {
        if builtin.contains(&name) || depends.contains_key(&name) {
            continue;
        }
        let file = find(tree, &|file| file.contains(".ko") && module_name(file) == name)?
            .with_context(|| format!("the kernel has no module {name}"))?;
        let content = content(workspace, &file)?;
        let on = dependencies(&content);
        waiting.extend(on.iter().cloned());
        let copy = folder.join(&name).with_extension("ko");
        fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
        depends.insert(name, on);
    }
    let order = order(&depends)?.join("\n") + "\n";
    let file = folder.join(ORDER);
    fs::write(&file, order).with_context(|| format!("cannot write {}", file.display()))
}

/// `kernel/drivers/net/ip6-tunnel.ko.xz` is `ip6_tunnel`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn content(workspace: &Workspace, file: &Path) -> Result<Vec<u8>> {
    let shown = file.display();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => fs::read(file).with_context(|| format!("cannot read {shown}")),
        Some("xz") => {
            let output = Command::new(workspace.busybox())
                .args(["xz", "-dc"])
                .arg(file)
                .stdin(Stdio::null())
                .output()
                .context("cannot run busybox")?;
            ensure!(output.status.success(), "busybox cannot decompress {shown}");
            Ok(output.stdout)
        }
        _ => bail!("{shown} is compressed in a way that is not known here"),
    }
}

/// What the field `depends=` of the section `.modinfo` names.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|window| window == FIELD) else {
        return Vec::new();
    };
    let value = module[at + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Every module after those it depends on; what is not a module of its own is built in.
fn order(depends: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>> {
    let mut order: Vec<String> = Vec::new();
    while order.len() < depends.len() {
        let ready = depends.iter().find(|(name, on)| {
            let loaded = |name: &String| order.contains(name) || !depends.contains_key(name);
            !order.contains(name) && on.iter().all(loaded)
        });
        let (name, _) = ready.context("the modules depend on one another in a circle")?;
        order.push(name.clone());
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(name, on)| ((*name).to_owned(), owned(on))).collect()
    }

    #[test]
    fn a_module_comes_after_what_it_depends_on() {
        let depends = graph(&[("a", &["c", "built_in"]), ("b", &[]), ("c", &["d"]), ("d", &["b"])]);
        assert_eq!(order(&depends).unwrap(), ["b", "d", "c", "a"]);
        assert!(order(&graph(&[("a", &["b"]), ("b", &["a"])])).is_err());
    }

    #[test]
    fn a_module_tells_what_it_depends_on() {
        let module = b"\x7fELF\0license=GPL\0depends=udp_tunnel,ip6-udp-tunnel\0name=x\0";
        assert_eq!(dependencies(module), ["udp_tunnel", "ip6_udp_tunnel"]);
        assert_eq!(dependencies(b"\x7fELF\0depends=\0name=tun\0"), Vec::<String>::new());
        assert_eq!(dependencies(b"depends=x"), Vec::<String>::new());
    }

    #[test]
    fn files_and_lists_name_a_module_alike() {
        assert_eq!(module_name("kernel/net/ipv4/tcp_diag.ko"), "tcp_diag");
        assert_eq!(module_name("ip6-tunnel.ko.xz"), "ip6_tunnel");
    }
}
