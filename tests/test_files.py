"""Atomic writing, links, JSON and NIfTI reading."""

import errno
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from verse_tree import AFFINE_RAS

from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.io import files
from nnunet_spine.io.files import atomic_path, link_or_copy, read_json, remove_left_over, write_json, write_text
from nnunet_spine.io.nifti import read_nifti, write_nifti


def test_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
    assert path.read_text(encoding="utf-8") == "half"
    assert list(path.parent.iterdir()) == [path]


def test_what_killed_runs_left_is_removed_and_what_others_write_is_not(tmp_path):
    pytest.importorskip("fcntl")
    killed, young = tmp_path / ".partial-1.txt", tmp_path / ".partial-2.txt"
    for path in (killed, young):
        path.write_text("half", encoding="utf-8")
    with atomic_path(tmp_path / "a.txt") as temporary:
        for path in (killed, temporary):
            os.utime(path, (1e9, 1e9))
        remove_left_over(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([young, temporary])


def test_failure_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["replace", "mkdir"])
def test_full_disk(tmp_path, monkeypatch, call):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, call, full)
    with pytest.raises(WriteError, match=r"No space left on device.*Free some space"):
        write_text(tmp_path / "folder" / "a.txt", "text")


def test_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(WriteError, match="cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("copy", [False, True])
def test_link_or_copy(tmp_path, copy):
    source = tmp_path / "source"
    source.write_text("content", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(source)
    way = link_or_copy(link, tmp_path / "new" / "a", copy=copy)
    assert way == ("copy" if copy else "hardlink")
    assert (tmp_path / "new" / "a").samefile(source) != copy
    assert not (tmp_path / "new" / "a").is_symlink()
    assert link_or_copy(link, tmp_path / "new" / "a", copy=copy) == way  # a second time is fine
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def test_linking_does_not_hide_a_full_disk(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "source").write_text("", encoding="utf-8")
    monkeypatch.setattr(files.os, "link", full)
    with pytest.raises(WriteError, match="No space left"):
        link_or_copy(tmp_path / "source", tmp_path / "a")


def test_json(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, 2]})
    assert read_json(tmp_path / "a.json") == {"ü": [1, 2]}
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "b.json")
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not readable as JSON"):
        read_json(tmp_path / "a.json")


def test_nifti_round_trip(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_nifti(tmp_path / "a.nii.gz", array, AFFINE_RAS)
    back, affine = read_nifti(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back, array)
    np.testing.assert_array_equal(affine, AFFINE_RAS)
    assert back.dtype == np.uint8
    first = (tmp_path / "a.nii.gz").read_bytes()
    write_nifti(tmp_path / "b.nii.gz", array, AFFINE_RAS)
    assert (tmp_path / "b.nii.gz").read_bytes() == first  # no name and no time inside


def test_nifti_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_nifti(tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 3), np.uint8), AFFINE_RAS), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="4-D image"):
        read_nifti(tmp_path / "a.nii.gz")
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    write_nifti(tmp_path / "b.nii.gz", noise, AFFINE_RAS)
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "b.nii.gz").read_bytes()[:4000])
    with pytest.raises(InputError, match=r"truncated|damaged"):
        read_nifti(tmp_path / "b.nii.gz")
