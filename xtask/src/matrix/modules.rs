//! The modules that the tests need, with those that they need themselves, in the order of loading.
//!
//! Debian's packages have no `modules.dep`, which is made where they are installed: what a module
//! depends on is read from the module.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::files;

/// `tun` plays the peers; the others answer `ss` and node_exporter.
const NEEDED: [&str; 4] = ["tun", "veth", "inet_diag", "tcp_diag"];

/// Takes the modules from the tree of a kernel into `folder`, decompressed, with the file `order`: their
/// names, one a line, as they are to be loaded.
pub(crate) fn extract(busybox: &Path, tree: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let builtin = fs::read_to_string(tree.join("modules.builtin"))?;
    let files = files::below(tree)?.into_iter();
    let files = files.filter(|file| file.to_string_lossy().contains(".ko")).collect();
    // What is built in counts as taken.
    let taken = builtin.lines().map(module_name).collect();
    let mut tree = Tree { busybox, files, folder, taken, order: String::new() };
    NEEDED.iter().try_for_each(|name| tree.take(name))?;
    Ok(fs::write(folder.join("order"), tree.order)?)
}

struct Tree<'a> {
    busybox: &'a Path,
    files: Vec<PathBuf>,
    folder: &'a Path,
    taken: Vec<String>,
    order: String,
}

impl Tree<'_> {
    /// Takes a module and those it depends on, which come before it.
    fn take(&mut self, name: &str) -> Result<()> {
        if self.taken.iter().any(|taken| taken == name) {
            return Ok(());
        }
        self.taken.push(name.to_owned());
        let is_it = |file: &&PathBuf| module_name(&file.to_string_lossy()) == name;
        let file = self.files.iter().find(is_it);
        let file = file.with_context(|| format!("the kernel has no module {name}"))?;
        let content = content(self.busybox, file)?;
        dependencies(&content).iter().try_for_each(|needed| self.take(needed))?;
        fs::write(self.folder.join(name).with_extension("ko"), content)?;
        self.order.extend([name, "\n"]);
        Ok(())
    }
}

/// `kernel/drivers/net/ip6-tunnel.ko.xz` is `ip6_tunnel`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

fn content(busybox: &Path, file: &Path) -> Result<Vec<u8>> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => Ok(fs::read(file)?),
        Some("xz") => {
            let mut command = Command::new(busybox);
            command.args(["xz", "-dc"]).arg(file).stdin(Stdio::null());
            let output = command.output().context("cannot run busybox")?;
            ensure!(output.status.success(), "busybox cannot decompress {}", file.display());
            Ok(output.stdout)
        }
        _ => bail!("{} is compressed in a way that is not known here", file.display()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_comes_after_what_it_depends_on_and_without_what_is_built_in() {
        let root = tempfile::tempdir().unwrap();
        let (tree, folder) = (root.path().join("tree"), root.path().join("modules"));
        fs::create_dir_all(tree.join("net/ipv4")).unwrap();
        fs::write(tree.join("modules.builtin"), "kernel/net/built-in.ko\n").unwrap();
        for (file, depends) in [
            ("net/tun.ko", "built-in"),
            ("net/veth.ko", ""),
            ("net/ipv4/inet_diag.ko", "udp-tunnel,built_in"),
            ("net/ipv4/tcp_diag.ko", "inet_diag"),
            ("net/ipv4/udp-tunnel.ko", ""),
        ] {
            let module = format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0");
            fs::write(tree.join(file), module).unwrap();
        }
        extract(Path::new("busybox"), &tree, &folder).unwrap();
        let order = fs::read_to_string(folder.join("order")).unwrap();
        assert_eq!(order, "tun\nveth\nudp_tunnel\ninet_diag\ntcp_diag\n");
        assert!(order.lines().all(|name| folder.join(format!("{name}.ko")).is_file()));
    }
}
