//! The container image: an OCI layout with one image for each architecture in one index. Each has one layer: the
//! binary and the licences. <https://github.com/opencontainers/image-spec>

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;
use serde_json::{Value, json};

use crate::architecture::Architecture;
use crate::dist::{Release, tarball, tree};
use crate::process;
use crate::target::Workspace;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The name of the image in the manifests, the chart, and the compose file.
const NAME: &str = "ghcr.io/tcpstat/tcpstat";

/// The binary in the image, which is its entry point.
const BINARY: &str = "tcpstat";

/// An empty layout that is filled with blobs.
struct Layout<'a> {
    release: &'a Release,
    folder: &'a Path,
}

/// Makes the archive of the layout, which skopeo, podman, and `ctr image import` read.
pub(super) fn make(
    workspace: &Workspace,
    release: &Release,
    architectures: &[Architecture],
    work: &Path,
) -> Result<()> {
    let folder = work.join("image");
    fs::create_dir_all(folder.join("blobs/sha256"))?;
    let layout = Layout { release, folder: &folder };
    let manifests = architectures
        .iter()
        .map(|architecture| layout.add_image(workspace, *architecture, work))
        .collect::<Result<Vec<_>>>()?;
    let images = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let mut images = layout.add_json(INDEX, &images)?;
    // podman and containerd give the image the first name when they import the archive. skopeo finds it by the second one.
    images["annotations"] = json!({
        "io.containerd.image.name": format!("{NAME}:{}", release.version),
        "org.opencontainers.image.ref.name": release.version,
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [images]});
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(folder.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    let archive = release.folder.join(format!("tcpstat-{}-image.tar", release.version));
    let mut tar = release.tar(&folder, ".");
    process::probe(tar.arg("--file").arg(&archive)).context("tar fails")?;
    Ok(())
}

impl Layout<'_> {
    /// The descriptor of the image for `architecture`.
    fn add_image(
        &self,
        workspace: &Workspace,
        architecture: Architecture,
        work: &Path,
    ) -> Result<Value> {
        let root = work.join(format!("image-{}", architecture.name()));
        tree::put(&architecture.binary(workspace), &root.join(BINARY), 0o755)?;
        let installed = work.join(architecture.name()).join("usr/share/doc/tcpstat");
        for name in tree::LICENCES {
            tree::put(&installed.join(name), &root.join("licenses").join(name), 0o644)?;
        }
        let plain = work.join("layer.tar");
        process::probe(self.release.tar(&root, ".").arg("--file").arg(&plain))
            .context("tar fails")?;
        let compressed = work.join("layer.tar.gz");
        let mut archive = Command::new("cat");
        archive.arg(&plain);
        tarball::compress(archive, &compressed)?;
        let layer = self.add(LAYER, &compressed)?;
        let labels = json!({
            "org.opencontainers.image.title": "tcpstat",
            "org.opencontainers.image.description": "TCP sockets by state, for Prometheus",
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            "org.opencontainers.image.version": self.release.version,
        });
        let config = json!({
            "created": self.release.date("--iso-8601=seconds")?,
            "architecture": architecture.debian(),
            "os": "linux",
            "config": {
                "Entrypoint": [format!("/{BINARY}")],
                "Cmd": ["serve"],
                "ExposedPorts": {"10048/tcp": {}},
                "User": "0:0",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(&plain)?]},
        });
        let config = self.add_json(CONFIG, &config)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": labels,
        });
        let mut manifest = self.add_json(MANIFEST, &manifest)?;
        manifest["platform"] = json!({"architecture": architecture.debian(), "os": "linux"});
        Ok(manifest)
    }

    fn add_json(&self, media_type: &str, value: &Value) -> Result<Value> {
        let file = self.folder.with_file_name("blob.json");
        fs::write(&file, value.to_string())?;
        self.add(media_type, &file)
    }

    /// Adds a blob. Its descriptor.
    fn add(&self, media_type: &str, file: &Path) -> Result<Value> {
        let digest = digest(file)?;
        let size = fs::metadata(file)?.len();
        fs::copy(file, self.folder.join("blobs").join(digest.replace(':', "/")))?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": size}))
    }
}

fn digest(file: &Path) -> Result<String> {
    let sum = process::probe(Command::new("sha256sum").arg(file)).context("sha256sum fails")?;
    Ok(format!("sha256:{}", sum.split_whitespace().next().unwrap_or_default()))
}
