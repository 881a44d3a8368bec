"""`python -m device models list|verify|install`: what bundles there are, whether they can be trusted, which plays."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from device.config import load_config
from device.core.bundle import MODEL_FILES, Manifest
from device.core.errors import BundleError
from device.edges.model_tflite import installed_runtimes
from device.models.bundles import FACTORY, BundleFiles, choose_runtime, read_bundle, run_bundle
from device.models.model_store import chosen_bundle, current_problem, install_bundle, installed_bundles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `device models`."""
    commands = parser.add_subparsers(dest="models_command", required=True, metavar="list|verify|install")
    listing = commands.add_parser("list", help="list the factory's bundle, the installed ones, and those in a folder")
    listing.add_argument("folder", nargs="?", type=Path, help="folder whose bundles are listed too")
    verify = commands.add_parser("verify", help="check a bundle's files and signature, and play its golden examples")
    verify.add_argument("bundle", nargs="?", type=Path, default=FACTORY, help="a bundle's folder (the factory's)")
    verify.add_argument(
        "--allowed-signers", type=Path, metavar="FILE", help="who may sign: ssh-keygen(1), ALLOWED SIGNERS"
    )
    install = commands.add_parser("install", help="install a bundle, which plays when the box starts next")
    install.add_argument("bundle", type=Path, help="a bundle's folder")
    install.add_argument("--allow-unsigned", action="store_true", help="whatever the configuration says of signatures")
    install.add_argument("--allow-downgrade", action="store_true", help="take a version that is not newer")
    for command in (listing, verify, install):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    for command in (listing, install):
        command.add_argument("--config", type=Path, metavar="FILE", help="a TOML file that overrides the machine's")


def main(args: argparse.Namespace) -> int:
    """List, verify or install bundles."""
    return {"list": _list, "verify": _verify, "install": _install}[args.models_command](args)


def _list(args: argparse.Namespace) -> int:
    """Print one line a bundle; a broken one among others is listed with what is wrong with it.

    Returns
    -------
    int
        1 if none of several can be played, else 0.

    Raises
    ------
    BundleError
        There is no such folder, or the only bundle is missing or broken.
    """
    config = load_config(args.config)
    candidates = [FACTORY, *installed_bundles(Path(config.state.folder))]
    if args.folder is not None:
        if not args.folder.is_dir():
            raise BundleError(f"there is no folder {args.folder}: name a folder that holds bundles")
        candidates += sorted(path for path in args.folder.iterdir() if path.is_dir() and path.name[0] != ".")
    playing = chosen_bundle(config)
    rows = [{**_describe(path), "plays": path == playing} for path in candidates]
    if len(rows) == 1 and "error" in rows[0]:
        raise BundleError(rows[0]["error"])
    if args.json:
        print(json.dumps({"bundles": rows}))
    else:
        print("\n".join(row["error"] if "error" in row else _line(row) for row in rows))
        if (problem := current_problem(Path(config.state.folder))) and playing == FACTORY:
            print(f"the factory's plays instead of the one that was installed last: {problem}")
    return int(all("error" in row for row in rows))


def _verify(args: argparse.Namespace) -> int:
    """Check a bundle and play its golden examples with each variant on each runtime that is installed."""
    files = read_bundle(args.bundle, args.allowed_signers)
    runtimes = installed_runtimes() or [choose_runtime()]  # which says that none is installed
    checks: list[dict[str, Any]] = [
        {
            "variant": variant,
            "runtime": runtime,
            "golden_error": run_bundle(args.bundle, files, variant, runtime).golden_error,
            "tolerance": files.manifest.golden.expected(variant, runtime)[1],
        }
        for variant in MODEL_FILES
        for runtime in runtimes
    ]
    row = {**_row(args.bundle, files), "checks": checks}
    if args.json:
        print(json.dumps(row))
        return 0
    print(_line(row))
    for check in checks:
        error, allowed = check["golden_error"], check["tolerance"]
        print(f"  {check['variant']} on {check['runtime']}: golden error {error:.2g}, {allowed:.2g} allowed")
    return 0


def _install(args: argparse.Namespace) -> int:
    """Install a bundle as the configuration allows."""
    config = load_config(args.config)
    done = install_bundle(
        args.bundle,
        Path(config.state.folder),
        allowed_signers=Path(config.store.allowed_signers),
        require_signature=config.store.require_signature and not args.allow_unsigned,
        allow_downgrade=args.allow_downgrade,
        n_kept=config.store.n_models,
    )
    if args.json:
        print(json.dumps({**asdict(done), "path": str(done.path), "removed": [str(path) for path in done.removed]}))
        return 0
    signed = f", signed by {done.signer}" if done.signer else ""
    print(f"{done.name} {done.version}{signed}, installed as {done.path}: it plays when the box starts next")
    for path in done.removed:
        print(f"  removed {path}, the oldest of more than {config.store.n_models}")
    if config.model.bundle:
        print(f"  model.bundle in the configuration names {config.model.bundle}, which plays instead: clear it")
    return 0


def _describe(path: Path) -> dict[str, Any]:
    try:
        return _row(path, read_bundle(path))
    except BundleError as error:
        return {"path": str(path), "error": str(error)}


def _row(path: Path, files: BundleFiles) -> dict[str, Any]:
    """Give what a line or a JSON object says of a bundle."""
    manifest: Manifest = files.manifest
    return {
        "path": str(path),
        "name": manifest.name,
        "version": manifest.version,
        "signed": manifest.signed,
        "signer": files.signer,
        "segment_s": manifest.segment_s,
        "rate_hz": manifest.rate_hz,
        "temperature": manifest.temperature,
        "n_bytes": sum(entry.size for entry in manifest.files.values()),
        "figures": manifest.figures,
    }


def _line(row: dict[str, Any]) -> str:
    signed = f"signed by {row['signer']}" if row["signer"] else "signed" if row["signed"] else "unsigned"
    return (
        f"{row['name']} {row['version']}: {row['segment_s']:g} s at {row['rate_hz']} Hz, "
        f"{row['n_bytes'] / 1e6:.1f} MB, {signed}, {row['path']}{', plays' if row.get('plays') else ''}"
    )
