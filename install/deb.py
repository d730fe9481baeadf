"""`make deb`: a Debian package of this tree, with all that it needs beside the system's Python; nothing is downloaded.

    python install/deb.py build [--tree FOLDER]

What is packed is what was tested: the compiled modules of this tree and the distributions of the environment that runs
this. They go to /usr/lib/teg, a virtual environment around /usr/bin/python3 of the same minor version, so that neither
the system's Python packages nor those of users are seen or changed. The same tree gives the same bytes.
"""

import argparse
import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
PREFIX = Path("usr/lib/teg")
SITE = PREFIX / "lib" / PYTHON / "site-packages"
PACKAGES = ("tegcore", "tegio", "tegd", "zone_ledger", "governor", "tegctl", "tegsim")
EPOCH_S = 1_700_000_000
"""Time of every file in the package."""


def needed(name: str, seen: dict[str, Distribution]) -> dict[str, Distribution]:
    """A distribution and all that it needs here, without extras, by name."""
    found = distribution(name)
    for text in found.requires or ():
        wanted = Requirement(text)
        if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and wanted.name.lower() not in seen:
            seen[wanted.name.lower()] = distribution(wanted.name)
            needed(wanted.name, seen)
    return seen


def stage(tree: Path) -> None:
    """Fill a folder with what is to be on the host."""
    site = tree / SITE
    for found in needed(PROJECT["name"], {}).values():
        _copy_distribution(found, site)
    for package in PACKAGES:
        for path in _sources(ROOT / package):
            _demand_compiled(path)
            _copy(path, site / path.relative_to(ROOT))
    own = distribution(PROJECT["name"])
    about = own.read_text("METADATA") or own.read_text("PKG-INFO") or ""
    _write(site / f"{PROJECT['name']}-{PROJECT['version']}.dist-info/METADATA", about)
    _python(tree)
    _host_files(tree)
    compiled = compileall.compile_dir(
        tree / SITE,
        ddir=f"/{SITE}",
        quiet=2,
        workers=os.cpu_count() or 1,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    assert compiled, "a module does not compile"


def _copy_distribution(found: Distribution, site: Path) -> None:
    for path in found.files or ():
        if path.parts[0] != ".." and path.suffix != ".pyc" and "tests" not in path.parts and path.name != "RECORD":
            source = Path(str(path.locate()))
            if source.exists():
                _copy(source, site / path)


def _demand_compiled(path: Path) -> None:
    """A host has no Cython: a module that is written for it works only compiled."""
    written_for_it = path.suffix == ".py" and "\nimport cython\n" in path.read_text()
    if written_for_it and not list(path.parent.glob(f"{path.stem}.*.so")):
        sys.exit(f"{path.relative_to(ROOT)} is not compiled in this tree: `make install` compiles it")


def _sources(package: Path) -> Iterator[Path]:
    kept = {".py", ".so", ".pyi", ".pxd", ".html", ".css", ".js", ".svg"}
    return (path for path in sorted(package.rglob("*")) if path.suffix in kept and path.is_file())


def _python(tree: Path) -> None:
    """The environment itself, and the programs."""
    folder = tree / PREFIX / "bin"
    folder.mkdir(parents=True)
    (folder / "python3").symlink_to("/usr/bin/python3")
    _write(tree / PREFIX / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    for program, target in PROJECT["scripts"].items():
        module, _, function = target.partition(":")
        text = f"#!/{PREFIX}/bin/python3\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
        _write(folder / program, text, 0o755)
        link = tree / "usr/bin" / program
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/{PREFIX}/bin/{program}")


def _host_files(tree: Path) -> None:
    """Units, users, folders, settings and documents."""
    units = ROOT / "systemd"
    for path in sorted(units.iterdir()):
        if path.suffix in {".service", ".slice", ".socket", ".timer", ".target"}:
            _copy(path, tree / "usr/lib/systemd/system" / path.name)
    _copy(units / "teg.sysusers.conf", tree / "usr/lib/sysusers.d/teg.conf")
    _copy(units / "teg.tmpfiles.conf", tree / "usr/lib/tmpfiles.d/teg.conf")
    for path in sorted((units / "etc").iterdir()):
        _copy(path, tree / "etc/teg" / path.name)
    for path in sorted((units / "bin").iterdir()):
        _copy(path, tree / PREFIX / "bin" / path.name, 0o755)
    docs = tree / "usr/share/doc/teg"
    for path in sorted((ROOT / "docs").rglob("*.md")):
        _copy(path, docs / path.relative_to(ROOT / "docs"))
    _copy(ROOT / "LICENSE", docs / "copyright")


def pack(tree: Path, build: Path) -> Path:
    """Make the package of a filled folder."""
    control = tree / "DEBIAN"
    kib = sum(path.lstat().st_size for path in tree.rglob("*") if not path.is_dir()) // 1024
    minor = sys.version_info.minor
    arch = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    text = (ROOT / "install/control").read_text()
    values = {"VERSION": PROJECT["version"], "ARCH": arch, "KIB": str(kib), "MINOR": str(minor), "NEXT": str(minor + 1)}
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    _write(control / "control", text)
    _write(control / "conffiles", "".join(f"/etc/teg/{path.name}\n" for path in sorted((tree / "etc/teg").iterdir())))
    for name in ("postinst", "prerm", "postrm"):
        _copy(ROOT / "install" / name, control / name, 0o755)
    packed = (path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink())
    sums = (
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n"
        for path in packed
        if control not in path.parents
    )
    _write(control / "md5sums", "".join(sums))
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (EPOCH_S, EPOCH_S), follow_symlinks=False)
    made = build / f"{PROJECT['name']}_{PROJECT['version']}_{arch}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z3", "--build", str(tree), str(made)]
    subprocess.run(command, check=True, stdout=sys.stderr, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH_S)})
    return made


def contents() -> str:
    """Names what a package of this tree would hold, without making it."""
    found = hashlib.sha256()
    for name, dist in sorted(needed(PROJECT["name"], {}).items()):
        found.update(f"{name} {dist.version}\n".encode())
    files = [path for package in PACKAGES for path in _sources(ROOT / package)]
    for folder in ("systemd", "install", "docs"):
        files += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    for path in files:
        found.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _copy(source: Path, target: Path, mode: int | None = None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode or (0o755 if os.access(source, os.X_OK) and target.suffix != ".py" else 0o644))


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def make(build: Path) -> Path:
    """The package of this tree, made unless the folder holds it already."""
    build.mkdir(parents=True, exist_ok=True)
    name, said = contents(), build / "deb.contents"
    made = next(build.glob(f"{PROJECT['name']}_{PROJECT['version']}_*.deb"), None)
    if made is not None and said.exists() and said.read_text() == name:
        return made
    tree = build / "deb"
    shutil.rmtree(tree, ignore_errors=True)
    said.unlink(missing_ok=True)
    tree.mkdir()
    stage(tree)
    made = pack(tree, build)
    shutil.rmtree(tree)
    said.write_text(name)
    return made


def main() -> None:
    """Print the path of the package."""
    parser = argparse.ArgumentParser(description="Make a Debian package of this tree.")
    parser.add_argument("build", type=Path, help="folder for it")
    print(make(parser.parse_args().build))


if __name__ == "__main__":
    main()
