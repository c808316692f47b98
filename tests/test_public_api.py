"""What people call from Python: the functions on the reference page, each with an example that runs."""

import doctest
import importlib
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import nnunet_spine

PAGE = Path(nnunet_spine.__file__).parents[1] / "docs" / "reference" / "python.md"


def documented() -> dict[str, object]:
    """Dotted name -> function or class that the page shows; of a module, its own public functions."""
    found = {}
    for name in re.findall(r"^::: (\S+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        thing = pydoc.locate(name)
        assert thing is not None, f"{name} is not there"
        if inspect.ismodule(thing):
            members = inspect.getmembers(thing, inspect.isfunction)
            own = {n: f for n, f in members if f.__module__ == name and not n.startswith("_")}
            found |= {f"{name}.{n}": f for n, f in own.items()}
        else:
            found[name] = thing
    return found


FUNCTIONS = {name: thing for name, thing in documented().items() if inspect.isfunction(thing)}


def test_the_page_shows_the_public_functions():
    assert len(FUNCTIONS) > 30


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_an_example_that_runs(name):
    function = FUNCTIONS[name]
    module = importlib.import_module(function.__module__)
    (found,) = doctest.DocTestFinder(recurse=False).find(function, name, module=module, globs=dict(vars(module)))
    assert found.examples, f"{name} has no example"
    report: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(found, out=report.append)
    assert not report, "".join(report)
