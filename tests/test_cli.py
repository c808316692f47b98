import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_spine import cli
from nnunet_spine.commands import COMMANDS, doctor, plan
from nnunet_spine.errors import InputError, WriteError
from nnunet_spine.io.environment import ext_trainer_value

ROOT = Path(__file__).parents[1]
VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer")


def run_fresh(*arguments: str, code: str = "") -> subprocess.CompletedProcess:
    """The command in a process without nnU-Net's variables."""
    environment = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    script = f"import sys; from nnunet_spine.cli import main\n{code}\nsys.exit(main({list(arguments)!r}))"
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, encoding="utf-8"
    )


WITHOUT_TORCH = """
import atexit
atexit.register(lambda: sys.stderr.write("imported torch" if "torch" in sys.modules else ""))
atexit.register(lambda: sys.stderr.write("imported nnunetv2" if "nnunetv2" in sys.modules else ""))
"""


@pytest.mark.parametrize(
    "arguments",
    [["-h"], ["trainers"], ["labels"], ["env"], ["convert", "verse", "-h"], ["plan", "-h"], ["evaluate", "-h"]],
)
def test_light_commands_need_neither_torch_nor_variables(arguments):
    result = run_fresh(*arguments, code=WITHOUT_TORCH)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "-d", "5"], "nnUNet_raw is not set"),
        (["plan", "-d", "5", "--spaceing", "2"], "did you mean --spacing?"),
        (["plan", "-d", "5", "-p", "a__b"], "plans name 'a__b'"),
        (["spine-map", "-i", "/none", "-o", "maps", "-m", "/none"], "/none"),
        (["evaluate", "-p", "/none", "-g", "/none", "-o", "results"], "/none"),
        (["report", "-e", "/none"], "/none"),
        (["demo", "-n", "2"], "at least 5 phantoms"),
        (["demo", "-tr", "NoTrainer"], "no trainer 'NoTrainer_"),
        (["trainers", "SpineTraner"], "Did you mean SpineTrainer?"),
        (["trainers", "ConvLSTMTrainer_skip2"], "unknown option 'skip2'"),
    ],
)
def test_mistakes_are_found_before_anything_heavy_is_imported(arguments, message):
    result = run_fresh(*arguments, code=WITHOUT_TORCH)
    assert result.returncode == 2
    assert message in result.stderr
    assert "imported" not in result.stderr


def test_an_unknown_dataset_is_found_without_nnunet(monkeypatch, tmp_path, capsys):
    for name in ("Dataset005_Spines", "Dataset006_Half"):
        (tmp_path / name).mkdir()
    (tmp_path / "Dataset005_Spines" / "dataset.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    for wrong, message in {
        "7": f"no dataset '7' in {tmp_path}. There is Dataset005_Spines, Dataset006_Half",
        "Dataset005_Spine": "no dataset 'Dataset005_Spine'",
        "6": "dataset.json: no such file",
        "5": "nnUNet_preprocessed is not set",
    }.items():
        assert cli.main(["plan", "-d", wrong]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "results" / "Dataset005_Other").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    assert cli.main(["plan", "-d", "5"]) == 2
    assert "number 5 belongs to Dataset005_Other and Dataset005_Spines" in capsys.readouterr().err


def test_cpu_plans_that_train_for_hours_are_named(capsys):
    small = {"patch_size": [64, 64, 64], "batch_size": 2}
    plan._warn_of_hours({"2d": {"patch_size": [160, 128], "batch_size": 12}, "3d_fullres": small, "3d_cascade": {}})
    assert capsys.readouterr().err == ""
    plan._warn_of_hours({"3d_fullres": {"patch_size": [128, 128, 128], "batch_size": 2}})
    assert "3d_fullres takes 4.2 million voxels per training step: hours on" in capsys.readouterr().err


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
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phantm"], "nnunet-spine: argument command: no choice 'phantm'; did you mean phantom? (see nnunet-spine -h)"),
        (["xyz"], "no choice 'xyz'; there is env, doctor,"),
        (
            ["phantom", "-o", "p", "--spaceing", "2"],
            "phantom: unknown option --spaceing; did you mean --spacing?",
        ),
        (["phantom", "-o", "p", "--spac=2"], "unknown option --spac; did you mean --spacing?"),
        (["phantom", "-o", "p", "--view", "lumber"], "argument --view: no choice 'lumber'; did you mean lumbar?"),
        (["phantom", "-o", "p", "more"], "unexpected argument 'more'"),
        (["convert", "vrse", "-d", "1"], "nnunet-spine convert: argument what: no choice 'vrse'; did you mean verse?"),
        (
            ["convert", "verse", "-d", "1", "--lables", "spine"],
            "convert verse: unknown option --lables; did you",
        ),
        (["plan"], "nnunet-spine plan: the following arguments are required: -d"),
        (["plan", "-d", "1", "--gpu-memory", "lots"], "argument --gpu-memory: invalid float value: 'lots'"),
    ],
)
def test_wrong_usage_is_one_line_with_the_nearest_right_word(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(error) < 300


def test_a_shortened_option_is_not_guessed(capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "-p", "a", "-g", "b", "-o", "c", "--boot", "5"])
    assert "did you mean --bootstrap?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_shown_as_they_are_typed(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "-h"])
    assert not re.search(r"\(default: [(\[]", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (InputError("too small", "take a larger one", "a.nii"), 2, "a.nii: too small. Take a larger one"),
        (WriteError("cannot be written (Read-only file system)", "", "out"), 1, "out: cannot be written (Read-only"),
        (MemoryError(), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(raised, code, line, monkeypatch, capsys):
    def fail(args):
        raise raised

    monkeypatch.setattr("nnunet_spine.commands.labels.run", fail)
    assert cli.main(["labels"]) == code
    error = capsys.readouterr().err
    assert error.startswith(f"nnunet-spine labels: {line}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_output_of_any_encoding_is_printed(encoding):
    code = "from nnunet_spine.commands import labels\nlabels.run = lambda args: print('0.85 ± 0.02 → caf\\udce9 ≤ ö²')"
    script = f"import sys; from nnunet_spine.cli import main\n{code}\nsys.exit(main(['labels']))"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    result = subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    assert "\\xe9" in text
    assert ("±" in text) == (encoding != "ascii")
    assert ("+/-" in text and "o2" in text) == (encoding == "ascii")
    assert ("->" in text) == (encoding != "utf-8")


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
        "network.options.n_convlstm_skips": 2,
        "optimisation.epochs": 5,
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
    assert "note nnU-Net finds all trainers once nnUNet_extTrainer is set: " in result.stdout


def test_doctor_wants_absolute_folders_of_their_own(tmp_path):
    file, ours = tmp_path / "file", ext_trainer_value("relative/trainers")
    file.touch()
    folders = {"nnUNet_raw": "data/raw", "nnUNet_preprocessed": str(tmp_path), "nnUNet_results": str(tmp_path)}
    checks = list(doctor.check_variables({**folders, "nnUNet_extTrainer": ours}))
    assert [check.state for check in checks] == ["BAD", "ok", "BAD", "ok", "note"]
    assert f"export nnUNet_raw={Path('data/raw').absolute()}" in checks[0].cure
    assert checks[2].cure.startswith("the same folder as nnUNet_preprocessed")
    assert "relative/trainers" in checks[4].what
    (bad, *_) = doctor.check_variables({"nnUNet_raw": str(file)})
    assert (bad.state, bad.cure) == ("BAD", "a file, expected a folder")
    (bad, *_) = doctor.check_variables({"nnUNet_raw": "~/raw"})
    assert f"export nnUNet_raw={Path.home() / 'raw'}" in bad.cure


@pytest.mark.parametrize(
    ("value", "state", "cure"),
    [("1", "ok", ""), ("8", "note", "export nnUNet_def_n_proc=1"), ("many", "BAD", "export")],
)
def test_doctor_knows_the_right_number_of_processes(value, state, cure):
    check, _ = doctor.check_processes({"nnUNet_def_n_proc": value, "nnUNet_n_proc_DA": "1"}, cores=2, gpu=False)
    assert check.state == state
    assert cure in check.cure


def test_closed_pipe_shows_no_traceback():
    command = f"{sys.executable} -m nnunet_spine.cli labels | head -1"
    result = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert "Traceback" not in result.stderr
