"""Commands for people: `python3 -m lab build|package|up|shell|run|status|down`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lab import cache, controller, eras, member, node, package, settings


def main() -> int:
    """Run the command line; give the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="build the image and its layers, as far as they are not there")
    deb = commands.add_parser("package", help="build the Debian package, and check it with lintian")
    deb.add_argument("folder", type=Path, help="where to put it")
    up = commands.add_parser("up", help="boot a controller that stays until `down`")
    up.add_argument("--bind", action="append", default=[], metavar="HOST:NODE", help="show a host folder in the node")
    shell = commands.add_parser("shell", help="a shell in the controller that `up` booted, or in a cluster's node")
    shell.add_argument("node", nargs="?", default="", help="its name, as `status` shows it; default the newest")
    run = commands.add_parser("run", help="one command in that controller")
    run.add_argument("--user", help="whom to run as; default root")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")
    commands.add_parser("status", help="what is built and what runs")
    down = commands.add_parser("down", help="remove what `up` booted and what killed programs left behind")
    down.add_argument("names", nargs="*", metavar="NODE", help="only these, as `status` names them")
    down.add_argument("--all", action="store_true", help="also nodes whose program is still running")
    given = parser.parse_args()
    missing = settings.missing()
    if missing and given.command != "status":
        print(f"lab: {'; '.join(missing)}", file=sys.stderr)
        return 1
    try:
        with node.orderly_exit():
            return _COMMANDS[given.command](given)
    except KeyboardInterrupt:
        return 130
    except settings.LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def _build(_: argparse.Namespace) -> int:
    for layer in (*member.layers(), package.builder()):
        # Older ones that were in use when this one was built.
        cache.remove_older(layer)
        print(layer)
    reason = eras.ocata_missing()
    if reason:
        print(f"left out: Ocata ({reason})", file=sys.stderr)
    return 0


def _package(given: argparse.Namespace) -> int:
    print(package.build(given.folder.resolve(), check=True))
    return 0


def _up(given: argparse.Namespace) -> int:
    binds = [(Path(host).resolve(), inside) for host, _, inside in (bind.partition(":") for bind in given.bind)]
    booted = controller.boot(binds, keep=True)
    print(f"{booted.machine} is up; its files: {booted.root}; log in: python3 -m lab shell")
    return 0


def _shell(given: argparse.Namespace) -> int:
    env = {"TERM": os.environ.get("TERM", "dumb"), "HOME": "/root", "LANG": "C.UTF-8"}
    # In this program's session: a shell needs its terminal.
    return _kept(given.node).popen(["/bin/bash", "-l"], env, start_new_session=False).wait()


def _run(given: argparse.Namespace) -> int:
    argv = given.argv[1:] if given.argv[:1] == ["--"] else given.argv
    return _kept().popen(argv, user=given.user, start_new_session=False).wait()


def _kept(name: str = "") -> node.Node:
    kept = [
        folder
        for folder, record in node.records().items()
        if record and record["owner"] is None and "leader" in record and name in ("", folder.name, record["hostname"])
    ]
    if not kept:
        raise settings.LabError("no such node is up; run: python3 -m lab status, or python3 -m lab up")
    return node.attach(max(kept, key=lambda folder: folder.stat().st_ctime))


def _status(_: argparse.Namespace) -> int:
    for reason in settings.missing():
        print(f"missing: {reason}")
    for layer in sorted(settings.LAYERS.glob("[!.]*")):
        print(f"built: {layer.name}")
    for folder, record in node.records().items():
        owner = record.get("owner")
        whose = "kept until `down`" if record and owner is None else f"of process {owner[0] if owner else '?'}"
        print(f"node: {folder.name} {record.get('hostname', '')}, {node.state(record)}, {whose}")
    return 0


def _down(given: argparse.Namespace) -> int:
    for name in node.reap(kept=True, living=given.all, names=given.names):
        print(f"removed: {name}")
    # What could not be removed has been said.
    left = [
        folder.name
        for folder, record in node.records().items()
        if folder.name in given.names or (not given.names and (given.all or (record and record["owner"] is None)))
    ]
    return 1 if left else 0


_COMMANDS = {
    "build": _build, "package": _package, "up": _up, "shell": _shell, "run": _run, "status": _status, "down": _down,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
