//! The container image, unpacked from its OCI layout and run by runc as the DaemonSet says.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::binary::source;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exposition::Scrape;
use tcpstat_tests::harness::Test;
use tcpstat_tests::holder::Holder;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::{Namespace, elsewhere};
use tcpstat_tests::scopes::infos_of;
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::tcp::Family;
use tempfile::TempDir;

use crate::{ARCHITECTURES, host, released, run};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_image_counts_as_the_daemonset_runs_it,
        the_image_has_both_architectures_and_nothing_but_the_binary_and_licences
    ]
}

/// What skopeo calls the archive.
fn archive() -> Result<String> {
    Ok(format!("oci-archive:{}", released("tcpstat-", "-image.tar")?.display()))
}

/// Unpacks the image for an architecture, as umoci does, into a bundle for runc.
fn unpack(architecture: &str, folder: &Path) -> Result<std::path::PathBuf> {
    let layout = folder.join("layout");
    run("skopeo", |command| {
        command
            .args(["--insecure-policy", "--override-arch", architecture, "copy"])
            .arg(archive().unwrap_or_default())
            .arg(format!("oci:{}:tcpstat", layout.display()))
    })?;
    let bundle = folder.join("bundle");
    run("umoci", |command| {
        command
            .arg("unpack")
            .arg("--image")
            .arg(format!("{}:tcpstat", layout.display()))
            .arg(&bundle)
    })?;
    Ok(bundle)
}

fn the_image_has_both_architectures_and_nothing_but_the_binary_and_licences(
    _: &Namespace,
) -> Result<()> {
    for (architecture, _) in ARCHITECTURES {
        let folder = tempfile::tempdir()?;
        let shown = run("skopeo", |command| {
            command
                .args(["--override-arch", architecture, "inspect"])
                .arg(archive().unwrap_or_default())
        })?;
        let shown: Value = serde_json::from_str(&shown)?;
        ensure!(shown["Architecture"] == architecture, "{shown}");
        let root = unpack(architecture, folder.path())?.join("rootfs");
        let files = run("find", |command| command.arg(&root).args(["-type", "f"]))?;
        let mut files: Vec<_> =
            files.lines().filter_map(|file| Path::new(file).strip_prefix(&root).ok()).collect();
        files.sort_unstable();
        let expected = ["licenses/THIRD-PARTY", "licenses/copyright", "tcpstat"].map(Path::new);
        ensure!(files == expected, "{files:?}");
    }
    Ok(())
}

/// A container of the image. Dropping it ends and removes it.
struct Running {
    folder: TempDir,
    runc: Child,
}

impl Running {
    /// Runs it in the network namespace of the calling thread, as `hostNetwork` does.
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let bundle = unpack(host()?.0, folder.path())?;
        let image: Value = serde_json::from_str(&fs::read_to_string(bundle.join("config.json"))?)?;
        let entry = image["process"]["args"][0].as_str().context("the image has no entry point")?;
        let manifest = fs::read_to_string(source(
            "tcpstat-user/assets/packaging/kubernetes/base/daemonset.yaml",
        )?)?;
        let manifest: Value = serde_saphyr::from_str(&manifest)?;
        let config = config(entry, &manifest["spec"]["template"]["spec"])?;
        fs::write(bundle.join("config.json"), config.to_string())?;
        let runc = Command::new("runc")
            .arg("--root")
            .arg(folder.path().join("state"))
            .args(["run", "--bundle"])
            .arg(&bundle)
            .arg(format!("tcpstat-image-{}", std::process::id()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?)
            .spawn()
            .context("run runc")?;
        Ok(Self { folder, runc })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("runc")
            .arg("--root")
            .arg(self.folder.path().join("state"))
            .args(["delete", "--force", &format!("tcpstat-image-{}", std::process::id())])
            .status();
        let _ = self.runc.wait();
    }
}

/// What a kubelet's runtime makes of the pod: arguments, variables, rights, memory limit, mounts, and the namespaces that it shares with
/// the host. Without the seccomp profile `RuntimeDefault`, which is part of the runtime: the one that Debian's packages have refuses bpf(2)
/// even with `CAP_BPF`.
fn config(entry: &str, pod: &Value) -> Result<Value> {
    ensure!(pod["hostNetwork"] == true && pod["hostPID"] == true, "{pod}");
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    ensure!(context["capabilities"]["drop"] == json!(["ALL"]), "{context}");
    let added = context["capabilities"]["add"].as_array().context("no capabilities are added")?;
    let added: Vec<_> =
        added.iter().filter_map(Value::as_str).map(|name| format!("CAP_{name}")).collect();
    let args = container["args"].as_array().context("no args")?;
    let words: Vec<_> = [json!(entry)].into_iter().chain(args.iter().cloned()).collect();
    let variables = container["env"].as_array().context("no env")?.iter();
    let variables: Vec<_> = variables
        .filter_map(|one| Some(format!("{}={}", one["name"].as_str()?, one["value"].as_str()?)))
        .collect();
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"] }),
    ];
    for mount in container["volumeMounts"].as_array().context("no mounts")? {
        let mut volumes = pod["volumes"].as_array().context("no volumes")?.iter();
        let volume = volumes.find(|volume| volume["name"] == mount["name"]).context("no volume")?;
        let path = volume["hostPath"]["path"].as_str().context("no path")?;
        ensure!(mount["readOnly"] == true, "{mount}");
        // Only nodes have the directories of pods.
        if Path::new(path).exists() {
            mounts.push(json!({
                "destination": mount["mountPath"], "type": "bind", "source": path, "options": ["rbind", "ro"],
            }));
        }
    }
    let memory = container["resources"]["limits"]["memory"].as_str().context("no limit")?;
    let memory: u64 = memory.strip_suffix("Mi").context("not in Mi")?.parse()?;
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": context["runAsUser"], "gid": context["runAsGroup"] },
            "args": words,
            "env": variables,
            "cwd": "/",
            "noNewPrivileges": context["allowPrivilegeEscalation"] == false,
            "capabilities": {
                "bounding": added, "effective": added, "permitted": added,
            },
        },
        "root": { "path": "rootfs", "readonly": context["readOnlyRootFilesystem"] },
        "mounts": mounts,
        "linux": {
            "cgroupsPath": format!("/tcpstat-image-{}", std::process::id()),
            "namespaces": [{ "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
            "resources": { "memory": { "limit": memory << 20 } },
        },
    }))
}

fn the_image_counts_as_the_daemonset_runs_it(_: &Namespace) -> Result<()> {
    let container = Running::start()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10048));
    let scrape = || -> Result<Scrape> {
        let answer = Scraper::connect(address)?.get("/metrics")?;
        ensure!(answer.status == 200, "{}", answer.body);
        Scrape::parse(&answer.body)
    };
    wait_until("tracer of the image", DEADLINE, || {
        let up = scrape().and_then(|scrape| scrape.value("tcpstat_tracer_up", &[]));
        Ok(match up {
            Ok(1.0) => Progress::Done(()),
            up => Progress::NotYet(format!("{up:?}\n{}", container.log())),
        })
    })?;
    let established = |scrape: &Scrape| {
        scrape.count("tcpstat_connections", &[("family", "ipv4"), ("state", "established")])
    };
    let before = established(&scrape()?)?;
    let pairs = Pairs::connect(20, Family::Ipv4)?;
    let during = scrape()?;
    ensure!(established(&during)? == before + 40, "{before}, then {}", established(&during)?);
    ensure!(during.count("tcpstat_consistent", &[])? == 1, "it disagrees with the kernel");
    drop(pairs);
    // With the host's processes it finds the namespace of a pod.
    let pod = elsewhere(|_| Ok((Holder::start("pod")?, Pairs::connect(3, Family::Ipv4)?)))?;
    wait_until("network namespace of a pod", DEADLINE, || {
        let found = infos_of(&scrape()?, pod.inum())?;
        Ok(if found.is_empty() { Progress::NotYet(container.log()) } else { Progress::Done(()) })
    })
}
