"""Shared fixtures: small volumes, nnU-Net folders, real data where it is available."""

import os
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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real CT, named by NNUNET_SPINE_TEST_DATA."""
    folder = os.environ.get("NNUNET_SPINE_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("NNUNET_SPINE_TEST_DATA does not name a folder with the real test data")
    return Path(folder)
