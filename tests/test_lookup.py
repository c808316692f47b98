"""nnU-Net's own search for trainers, in a process of its own, as `nnUNetv2_train -tr` starts one."""

import os
import subprocess
import sys
from pathlib import Path

from nnunet_spine.io.environment import ext_trainer_value, shim_folder

SCRIPT = """
import pickle, sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
name = "ConvLSTMTrainer_DiceFocalTversky_skips2_100epochs"
plain, recipe = find("ConvLSTMTrainer"), find(name)
import nnunet_spine.trainers as trainers
assert plain is trainers.ConvLSTMTrainer
assert recipe is getattr(trainers, name) is find(name)
assert pickle.loads(pickle.dumps(recipe)) is recipe and pickle.loads(pickle.dumps(plain)) is plain
assert recipe.__name__ == name and recipe.settings.optimisation.epochs == 100
assert "nnunet_spine_trainers" not in sys.modules
try:
    find("ConvLSTMTrainer_skip2")
except ValueError as error:
    assert "unknown option 'skip2'" in str(error) and "skips2" in str(error)
else:
    raise AssertionError("an unknown option must be an error")
try:
    find("NoSuchTrainer")
except RuntimeError as error:
    assert "Could not find" in str(error)
print("found")
"""


def test_nnunet_finds_the_packages_own_classes():
    environment = {**os.environ, "nnUNet_extTrainer": ext_trainer_value(None)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("found\n")


def test_the_folder_holds_one_module():
    assert [p.name for p in shim_folder().glob("*.py") if p.name != "__init__.py"] == ["nnunet_spine_trainers.py"]


def test_other_folders_stay_and_ours_is_named_once():
    ours = str(shim_folder())
    assert ext_trainer_value(None) == ours
    assert ext_trainer_value(ours) == ours
    assert ext_trainer_value("/a") == os.pathsep.join(["/a", ours])
