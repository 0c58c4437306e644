"""`python -m tests.cluster`: what `make` and the demo call, run from the repository's root.

setup   Docker engine, kind, kubectl, helm and node image; prints where the programs are
images  all images built, without a cluster
up      a healthy cluster with all images loaded
env     shell lines that put kubectl and helm on the PATH and name the kubeconfig: eval "$(python -m tests.cluster env)"
down    the cluster deleted
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys

from . import cluster, command, images, machine


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=list(ACTIONS))
    chosen = parser.parse_args(arguments)
    try:
        ACTIONS[chosen.what]()
    except (command.CommandError, subprocess.CalledProcessError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


def _setup() -> None:
    print(machine.prepare().bin)


def _up() -> None:
    cluster.up().provide(*images.ALL)


def _images() -> None:
    prepared = machine.prepare()
    with machine.exclusive():
        for image in images.ALL:
            print(images.build(image, source=prepared.source).pinned)


def _env() -> None:
    prepared = machine.prepare()
    path = f"{prepared.bin}:{os.environ['PATH']}"
    print(f"export PATH={shlex.quote(path)}")
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig(cluster.NAME)))}")


ACTIONS = {"setup": _setup, "images": _images, "up": _up, "env": _env, "down": cluster.down}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
