"""The floors of the house; `layers.FLOORS` declares them."""

import sys
from pathlib import Path

import pytest
from layers import FLOORS, HEAVY, LIGHT_PARTS, NETWORK_LIBRARIES, cycles, imports_of, modules_of, part_of, violations

ROOT = Path(__file__).parents[1]
SIBLINGS = ("trainers", "architectures", "dataset_conversion")
MODULES = modules_of({"nnunet_spine": ROOT / "nnunet_spine", **{f"nnunet_spine.{s}": ROOT / s for s in SIBLINGS}})


def test_imports_go_to_floors_below():
    assert violations(MODULES) == []


def test_no_import_cycles():
    assert cycles(MODULES) == []


def test_every_part_has_one_floor():
    declared = [part for parts in FLOORS for part in parts]
    assert len(declared) == len(set(declared))
    assert {part_of(module) for module in MODULES} - {""} <= set(declared)


def test_parts_that_need_no_torch_do_not_know_it():
    found = [
        f"{module} -> {name}"
        for module in MODULES
        if part_of(module) in LIGHT_PARTS
        for name in imports_of(module, MODULES)
        if name.split(".")[0] in HEAVY
    ]
    assert found == []


def test_networks_need_torch_alone():
    names = {name for m in MODULES if part_of(m) == "architectures" for name in imports_of(m, MODULES)}
    others = {name.split(".")[0] for name in names} - {"nnunet_spine", *sys.stdlib_module_names}
    assert others <= set(NETWORK_LIBRARIES)


@pytest.fixture
def house(tmp_path):
    """A small package with one import of each kind."""
    files = {
        "__init__.py": "__version__ = '1'",
        "errors.py": "from nnunet_spine import __version__",
        "geometry.py": "def lazy():\n    from nnunet_spine.io.files import read",
        "io/__init__.py": "",
        "io/files.py": "from .names import b\nfrom nnunet_spine import errors",
        "io/names.py": "import nnunet_spine.io.files",
        "evaluation/__init__.py": "from nnunet_spine.inference import draw",
        "inference/__init__.py": "def draw():\n    pass",
        "attic.py": "import nnunet_spine.errors",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return modules_of({"nnunet_spine": tmp_path})


def test_upward_sideways_and_homeless_imports_are_found_inside_functions_too(house):
    assert violations(house) == [
        "nnunet_spine.attic -> nnunet_spine.errors",
        "nnunet_spine.evaluation -> nnunet_spine.inference",
        "nnunet_spine.geometry -> nnunet_spine.io.files",
    ]


def test_cycles_are_found(house):
    assert cycles(house) == [["nnunet_spine.io.files", "nnunet_spine.io.names"]]
