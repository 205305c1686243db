"""Validates a dashboard with Grafana's own models, of 10.1: `dashboard.py FILE`.

The models ignore unknown fields, so a field that is missing when the model is written out again is a fault.
Prints one line for each fault; exit status 1 if there is any.
"""

import json
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Fields of annotations that belong to the data source Prometheus: the models have none of any data source.
UNMODELLED = {"titleFormat", "textFormat", "step"}


def faults(given, understood, path=""):
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from faults(value, understood[key], f"{path}.{key}")
            elif not (path.startswith(".annotations.") and key in UNMODELLED):
                yield f"{path}.{key}: Grafana does not know it"
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for index, pair in enumerate(zip(given, understood)):
            yield from faults(*pair, f"{path}[{index}]")
    elif given != understood:
        yield f"{path}: {given} is understood as {understood}"


def main(path):
    register_default_plugins()
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    understood = json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder))
    found = list(faults(given, understood))
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
