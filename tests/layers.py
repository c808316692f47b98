"""Who imports whom inside the package, read from the source: also imports inside functions and for types only."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "nnunet_spine"

# From the ground up. A part (module or package directly below `nnunet_spine`) imports only from floors below its own.
# Parts of one floor know nothing of each other; where two of one kind build on each other, the floor has steps.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "architectures"),  # networks know torch alone
    ("anatomy", "geometry"),
    ("centroids", "label_maps"),
    ("io",),  # files
    ("jobs",),  # processes, and records of what is done
    (
        "crops",
        "labelling",
        "losses",
        "instances",
        "phantom",
        "plausibility",
        "scores",
        "spine_map",
    ),  # arrays and millimetres
    ("heights", "meshes", "naming", "traversal"),
    ("deviation",),
    ("training",),
    ("planning",),
    ("trainers",),
    ("dataset_conversion", "evaluation", "inference", "shim"),  # cases over files
    ("pictures",),  # what a person looks at
    ("report",),
    ("demo",),
    ("commands",),
    ("cli",),
)

# What may import torch, nnU-Net or what brings them. The commands do so when they run, not when they are imported.
HEAVY = ("torch", "torchvision", "nnunetv2", "batchgeneratorsv2", "dynamic_network_architectures", "acvl_utils")
LIGHT_PARTS = ("errors", "anatomy", "geometry", "centroids", "label_maps", "io", "jobs", "scores", "crops",
               "heights", "meshes", "deviation", "dataset_conversion", "evaluation", "phantom", "pictures",
               "plausibility", "report", "trainers")  # fmt: skip
NETWORK_LIBRARIES = ("torch", "dynamic_network_architectures", "numpy")


def modules_of(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Dotted name -> file of every module below some package folders.

    Args:
        folders: dotted name of a package -> its folder.
    """
    found = {}
    for package, folder in folders.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((package, *parts))] = file
    return found


def imports_of(module: str, modules: Mapping[str, Path]) -> Iterator[str]:
    """Dotted names that a module imports: modules where they are some of `modules`, otherwise as written.

    `from a import b` is the import of module `a.b` if there is one, and of `a` otherwise.
    """
    file = modules[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield name if name in modules else base


def import_graph(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules among `modules` that it imports."""
    return {m: {name for name in imports_of(m, modules) if name in modules and name != m} for m in modules}


def part_of(module: str) -> str:
    """The part of the house a module belongs to; "" for the package itself, which everybody may know (the version)."""
    return module.split(".")[1] if "." in module else ""


def violations(modules: Mapping[str, Path]) -> list[str]:
    """Imports that go up, sideways, or to a part without a floor, as `importer -> imported`."""
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts}
    found = []
    for module, imported in sorted(import_graph(modules).items()):
        for name in sorted(imported):
            here, there = part_of(module), part_of(name)
            if here == there or not there:
                continue
            if here not in floor or there not in floor or floor[there] >= floor[here]:
                found.append(f"{module} -> {name}")
    return found


def cycles(modules: Mapping[str, Path]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others."""
    graph = import_graph(modules)
    reached = {module: _reachable(module, graph) for module in graph}
    groups = {frozenset(m for m in reached[module] if module in reached[m]) for module in graph}
    return sorted(sorted(group) for group in groups if group)


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    seen, todo = set(), list(graph[start])
    while todo:
        if (module := todo.pop()) not in seen:
            seen.add(module)
            todo += graph[module]
    return seen
