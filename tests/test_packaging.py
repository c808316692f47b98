"""The package list, the wheel, and the import of all three top-level folders under one name."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from layers import cycles, modules_of, violations

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib", reason="reading pyproject.toml needs Python 3.11")

ROOT = Path(__file__).parents[1]
SIBLINGS = ("trainers", "architectures", "dataset_conversion")


def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk() -> dict[str, Path]:
    """Dotted name -> folder of every package in the checkout."""
    found = {}
    for top in ("nnunet_spine", *SIBLINGS):
        for init in (ROOT / top).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            name = ".".join(parts if top == "nnunet_spine" else ("nnunet_spine", *parts))
            found[name] = init.parent
    return found


def test_the_package_list_is_complete():
    assert sorted(pyproject()["tool"]["setuptools"]["packages"]) == sorted(packages_on_disk())


def test_siblings_are_subpackages():
    import nnunet_spine.architectures
    import nnunet_spine.dataset_conversion
    import nnunet_spine.trainers

    assert Path(nnunet_spine.trainers.__file__).parent.name == "trainers"


def test_version_is_stated_once_in_two_places():
    import nnunet_spine

    assert nnunet_spine.__version__ == pyproject()["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a clean checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "clean" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "clean")]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel) -> Path:
    """A folder with what installing the wheel puts on the import path."""
    site = wheel.parent / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_no_other_top_level_name(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"nnunet_spine"}
    expected = {
        f"{name.replace('.', '/')}/{module.name}"
        for name, folder in packages_on_disk().items()
        for module in folder.glob("*.py")
    }
    assert expected <= set(names)
    tracked = subprocess.run(["git", "ls-files", "nnunet_spine"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert {name for name in tracked.stdout.splitlines() if (ROOT / name).is_file()} <= set(names)  # data as well


@pytest.mark.slow
def test_the_wheel_works_without_the_checkout(installed, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import nnunet_spine, nnunet_spine.trainers as t\n"
        f"assert t.__file__.startswith({str(installed)!r}), t.__file__\n"
        "assert t.ConvLSTMTrainer_skips1.settings.network.options == {'n_convlstm_skips': 1}\n"
        "from nnunet_spine.io.environment import shim_folder\n"
        "assert (shim_folder() / 'nnunet_spine_trainers.py').is_file()\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.slow
def test_the_floors_hold_in_the_wheel(installed):
    modules = modules_of({"nnunet_spine": installed / "nnunet_spine"})
    assert len(modules) > 100
    assert violations(modules) == []
    assert cycles(modules) == []
