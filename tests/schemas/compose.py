"""Validates compose files with the specification: `compose.py FILE...`. Unknown fields are faults."""

import sys

from compose_spec import PyCompose


def main(paths):
    found = False
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            PyCompose.from_yaml(text)
        except ValueError as error:
            found = True
            print(f"{path}: {error}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
