"""The documentation: its blocks run, its commands and names exist, its links lead somewhere.

A fenced block of `bash` or `python` runs in the order of its page, in a folder of its own that holds what `folder`
makes; or an HTML comment before it says why not: `<!-- not run: needs VerSe -->`.
"""

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from nnunet_spine import cli
from nnunet_spine.trainers import get_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<text>.*?)^```$", re.M | re.S)
RUN = ("bash", "python")


class Block(NamedTuple):
    """A fenced block; `reason` says why it is not run, or is empty."""

    language: str
    text: str
    reason: str


def blocks(page: Path) -> list[Block]:
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        mark = match["mark"] or ""
        reason = mark.removeprefix("not run:").strip() if mark.startswith("not run") else ""
        assert bool(reason) == mark.startswith("not run"), f"{page.name}: a mark without a reason"
        found.append(Block(match["language"], match["text"], reason))
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def to_run(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in RUN and not block.reason]


def command_lines(page: Path) -> list[list[str]]:
    """Words of every line of a shell block; continued lines are joined, comments left out."""
    texts = [block.text.replace("\\\n", " ") for block in blocks(page) if block.language == "bash"]
    return [shlex.split(line, comments=True) for text in texts for line in text.splitlines() if "'" not in line]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_languages_are_those_that_run_or_plain_text(page):
    assert {block.language for block in blocks(page)} <= {*RUN, "text"}
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    parser = cli.build_parser()
    for words in command_lines(page):
        if words[:1] == ["nnunet-spine"]:
            end = next((i for i, word in enumerate(words) if word in ("||", "&&", "|", ";", ">")), len(words))
            parser.parse_args(words[1:end])
        for option, name in itertools.pairwise(words):
            if option == "-tr" and not name.startswith("$"):
                get_recipe(name)


def test_names_of_trainers_in_the_text_exist():
    named = {name for page in PAGES for name in re.findall(r"`([A-Z]\w+Trainer(?:_\w+)?)`", page.read_text("utf-8"))}
    named -= {"QuickTrainer", "BaseTrainer"}
    assert len(named) > 10
    for name in named:
        get_recipe(name)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Phantoms, converted as dataset 710, and the folders that the pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("nnUNet_raw", str(folder / "raw"))
        draw = ["-n", "5", "--seed", "3", "--spacing", "4", "--view", "lumbar", "-np", "1", "--quiet"]
        assert cli.main(["phantom", "-o", str(folder / "drawn-before"), *draw]) == 0
        assert cli.main(["convert", "verse", str(folder / "drawn-before"), "-d", "710", "-np", "1", "--quiet"]) == 0
    dataset = folder / "raw" / "Dataset710_VerSe"
    for name, source in {"scans": "imagesTs", "references": "labelsTs", "predictions": "labelsTs"}.items():
        shutil.copytree(dataset / source, folder / name)
    for name in ("preprocessed", "results-of-nnunet"):
        (folder / name).mkdir()
    return folder


@pytest.fixture
def folder(prepared, tmp_path) -> Path:
    """A copy of `prepared` for one page."""
    shutil.copytree(prepared, tmp_path / "page", symlinks=True)
    return tmp_path / "page"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=name_of)
def test_blocks_run_as_printed(page, folder):
    bin_folder = folder.parent / "bin"
    bin_folder.mkdir()
    command = bin_folder / "nnunet-spine"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom nnunet_spine.cli import main\n"
        "if __name__ == '__main__':\n    sys.exit(main())\n",
        encoding="utf-8",
    )
    command.chmod(0o755)
    script = ["set -euo pipefail"]
    for block in to_run(page):
        shell = block.language == "bash"
        script.append(block.text if shell else f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK")
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(bin_folder), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results-of-nnunet"),
    }
    result = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout[-1500:]}\n{result.stderr[-3000:]}"
