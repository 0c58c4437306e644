"""`python -m tests.cluster`: what `make` and the demo call, run from the repository's root.

up      a healthy cluster with all images        down    the cluster deleted
images  the images built, without a cluster      env     shell lines that put kubectl and helm on the PATH
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
    parser.add_argument("what", choices=sorted(ACTIONS))
    chosen = parser.parse_args(arguments)
    try:
        ACTIONS[chosen.what]()
    except (command.CommandError, subprocess.CalledProcessError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    return 0


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


ACTIONS = {"up": _up, "down": cluster.down, "images": _images, "env": _env}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
