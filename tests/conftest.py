"""Shared fixtures: small volumes, nnU-Net folders, real data where it is available."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Spawned workers re-import torch, which takes seconds each; two cores need no more.
os.environ.setdefault("nnUNet_n_proc_DA", "0")
os.environ.setdefault("nnUNet_def_n_proc", "1")


@pytest.fixture
def nnunet_folders(tmp_path, monkeypatch) -> dict[str, Path]:
    """Empty nnUNet_raw, nnUNet_preprocessed and nnUNet_results, set in the environment."""
    folders = {name: tmp_path / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setenv(name, str(folder))
    return folders


@pytest.fixture(scope="module")
def nnunet_root(tmp_path_factory) -> Iterator[Path]:
    """A folder with nnU-Net's three, set in the environment together with our trainers, for a whole module."""
    yield from _root(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="session")
def _prepared_boxes(tmp_path_factory) -> Path:
    """See `boxes`."""
    from nnunet_dataset import prepare_boxes

    root = tmp_path_factory.mktemp("boxes")
    for _ in _root(root):
        prepare_boxes(root)
    return root


@pytest.fixture(scope="module")
def boxes(_prepared_boxes, tmp_path_factory) -> Iterator[Path]:
    """Like `nnunet_root`, with datasets 1 (plain labels), 2 (regions), 3 (ignore label), preprocessed by `PLANS`.

    Raw and preprocessed data are shared by all modules, results are the module's own.
    """
    root = tmp_path_factory.mktemp("nnunet")
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (root / name).symlink_to(_prepared_boxes / name)
    yield from _root(root)


def _root(root: Path) -> Iterator[Path]:
    from nnunet_spine.io.environment import ext_trainer_value

    with pytest.MonkeyPatch.context() as patch:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            (root / name).mkdir(exist_ok=True)
            patch.setenv(name, str(root / name))
        patch.setenv("nnUNet_extTrainer", ext_trainer_value(None))
        yield root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real CT, named by NNUNET_SPINE_TEST_DATA."""
    folder = os.environ.get("NNUNET_SPINE_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("NNUNET_SPINE_TEST_DATA does not name a folder with the real test data")
    return Path(folder)


@pytest.fixture(scope="session")
def browser():
    """A headless browser for pages of ours, see `report_page.Page`."""
    from report_page import start_browser

    driver = start_browser()
    yield driver
    driver.quit()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On small maps several threads mostly wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Programs started meanwhile take Ctrl-C, also where the tests run in the background, whose programs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
