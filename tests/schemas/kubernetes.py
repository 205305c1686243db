"""Validates manifests with the schemas of Kubernetes and of the Prometheus Operator: `kubernetes.py FILE...`.

Prints one line for each fault; exit status 1 if there is any. Unknown fields are faults.
"""

import sys

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

# The oldest and the newest version in the package.
KUBERNETES_VERSIONS = ["1.25", "1.37"]


def faults(manifest):
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from faults_by_model(manifest)
        return
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(item) for item in error.path)
            yield f"Kubernetes {version}: {path}: {error.message}"


def faults_by_model(manifest):
    model = getattr(prometheus_operator, manifest["kind"])
    try:
        understood = model.model_validate(manifest)
    except ValueError as error:
        yield " ".join(str(error).split())
        return
    # The model ignores unknown fields.
    kept = understood.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if kept != manifest:
        yield f"fields that are not known: {manifest} is understood as {kept}"


def main(paths):
    found = False
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for manifest in yaml.safe_load_all(file):
                for fault in faults(manifest):
                    found = True
                    print(f"{path}: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
