#!/bin/sh
# Pins everything again, for Python 3.11 to 3.13, with hashes. Needs uv. Run from the top folder.
set -eu
compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header "$@"; }
compile pyproject.toml -o requirements/runtime.txt
compile pyproject.toml --extra dev -o requirements/dev.txt
compile requirements/go.in -o requirements/go.txt
compile requirements/node.in -o requirements/node.txt
