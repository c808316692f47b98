import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_spine import cli
from nnunet_spine.commands import COMMANDS

ROOT = Path(__file__).parents[1]
VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer")


def run_fresh(*arguments: str, code: str = "") -> subprocess.CompletedProcess:
    """The command in a process without nnU-Net's variables."""
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    script = f"import sys; from nnunet_spine.cli import main\n{code}\nsys.exit(main({list(arguments)!r}))"
    return subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True)


WITHOUT_TORCH = """
import atexit
atexit.register(lambda: sys.stderr.write("imported torch" if "torch" in sys.modules else ""))
atexit.register(lambda: sys.stderr.write("imported nnunetv2" if "nnunetv2" in sys.modules else ""))
"""


@pytest.mark.parametrize(
    "arguments", [["-h"], ["labels"], ["env"], ["convert", "verse", "-h"], ["plan", "-h"], ["evaluate", "-h"]]
)
def test_light_commands_need_neither_torch_nor_variables(arguments):
    result = run_fresh(*arguments, code=WITHOUT_TORCH)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "-h"])
    assert stop.value.code == 0
    assert "--quiet" in capsys.readouterr().out or command == "convert"


def test_unknown_command_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["nosuch"])
    assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


def test_labels_as_json(capsys):
    assert cli.main(["labels", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 26
    assert next(r for r in rows if r["name"] == "T13")["verse"] == 28


def test_env_prints_an_export_line_for_the_shell():
    result = run_fresh("env")
    assert result.stdout.startswith("export nnUNet_extTrainer=")
    folder = result.stdout.split("=", 1)[1].strip().strip("'")
    assert (Path(folder) / "nnunet_spine_trainers.py").is_file()


def test_trainers_lists_options(capsys):
    assert cli.main(["trainers"]) == 0
    out = capsys.readouterr().out
    for part in ("ConvLSTMTrainer", "SpineTrainer", "skips2", "DiceFocalTversky", "100epochs", "Wu et al."):
        assert part in out
    assert cli.main(["trainers", "ConvLSTMTrainer_skips2_5epochs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sets"] == {
        "architecture_kwargs": {"n_convlstm_skips": 2},
        "num_epochs": 5,
    }


def test_bad_input_is_one_line_and_exit_code_2(capsys):
    assert cli.main(["trainers", "ConvLSTMTrainer_skip2"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "unknown option 'skip2'" in captured.err


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="unknown option"):
        cli.main(["trainers", "ConvLSTMTrainer_skip2", "--debug"])


def test_doctor_names_what_is_missing():
    result = run_fresh("doctor")
    assert result.returncode == 1
    assert "nnUNet_raw is not set" in result.stdout
    assert 'eval "$(nnunet-spine env)"' in result.stdout
    assert "ConvLSTMTrainer is found by nnU-Net" in result.stdout


def test_closed_pipe_shows_no_traceback():
    command = f"{sys.executable} -m nnunet_spine.cli labels | head -1"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in result.stderr
