import sys
from pathlib import Path

import pytest

from nnunet_spine import cli, demo
from nnunet_spine.demo import DemoOptions, Step, StepFailed, run_step
from nnunet_spine.io.files import read_json, write_json


def python_step(code: str, **options) -> Step:
    return Step("step", [sys.executable, "-c", code], **options)


@pytest.fixture(autouse=True)
def plain_executable(monkeypatch):
    found = demo._executable
    monkeypatch.setattr(demo, "_executable", lambda name: name if name == sys.executable else found(name))


def test_output_goes_to_the_log_and_counts_progress(tmp_path):
    seen = []

    def progress(line: str) -> bool:
        seen.append(line)
        return "part" in line

    log = tmp_path / "log" / "step.txt"
    run_step(python_step("print('part 1'); print('part 2')", progress=progress, total=2), {}, log, quiet=True)
    assert log.read_text(encoding="utf-8") == "part 1\npart 2\n"
    assert seen == ["part 1\n", "part 2\n"]


def test_a_failed_step_names_its_log_and_last_lines(tmp_path):
    step = python_step("import sys; print('first'); print('disk on fire', file=sys.stderr); sys.exit(3)")
    with pytest.raises(StepFailed, match=r"(?s)'step' failed with exit code 3.*step\.txt\nfirst\ndisk on fire"):
        run_step(step, {"PYTHONUNBUFFERED": "1"}, tmp_path / "step.txt", quiet=True)


def test_finished_steps_are_not_run_again(tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(demo, "run_step", lambda step, *rest: ran.append(step.name))
    monkeypatch.setattr(demo, "score", lambda folder, quiet: "table")
    options = DemoOptions(cases=5)
    demo.run_demo(tmp_path, options, device="cpu", processes=1, quiet=True)
    assert ran == ["phantom", "convert", "plan", "preprocess", "train", "predict", "labels", "relabel"]
    state = read_json(tmp_path / "demo.json")
    del state["seconds"]["train"]
    write_json(tmp_path / "demo.json", state)
    ran.clear()
    demo.run_demo(tmp_path, options, device="cpu", processes=1, quiet=True)
    assert ran == ["train"]


@pytest.mark.parametrize("which", ["latest", "final"])
def test_an_interrupted_training_or_validation_is_continued(tmp_path, which):
    options = DemoOptions()

    def train_command():
        steps = demo.steps(tmp_path, options, "cpu", 1)
        return next(s.command for s in steps if s.name == "train")

    assert "--c" not in train_command()
    name = f"{options.recipe}__{demo.PLANS}__{demo.CONFIGURATION}"
    checkpoint = tmp_path / "nnUNet_results" / demo.DATASET / name / "fold_0" / f"checkpoint_{which}.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert "--c" in train_command()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "2"], "at least 5 phantoms"),
        (["-tr", "NoTrainer"], "no trainer 'NoTrainer_"),
        (["-tr", "ConvLSTMTrainer_skip9"], "unknown option 'skip9'"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, arguments, message):
    assert cli.main(["demo", "-o", str(tmp_path / "d"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "d").exists()


def test_other_peoples_folders_and_other_demos_are_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 2
    assert "not empty and holds no demo" in capsys.readouterr().err
    write_json(tmp_path / "demo.json", {"options": {"cases": 9}, "seconds": {}})
    assert cli.main(["demo", "-o", str(tmp_path)]) == 2
    assert "a demo with other options" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_way_through_the_real_commands(tmp_path, capsys):
    folder = tmp_path / "demo"
    short = ["-n", "5", "--epochs", "1", "--iterations", "2", "-device", "cpu", "-np", "1"]
    assert cli.main(["demo", "-o", str(folder), *short]) == 0
    out = capsys.readouterr().out
    for part in (
        "$ nnunet-spine convert verse",
        "$ nnUNetv2_train 710 2d 0",
        "$ nnunet-spine relabel",
        "| case",
        "To use the model",
    ):
        assert part in out
    for method in ("predicted", "relabelled"):
        (case,) = read_json(folder / "evaluation" / method / "evaluation.json")["cases"]
    assert 0 <= case["binary_dice"] <= 1
    assert len(case["vertebrae"]) > 20
    assert (folder / "pictures" / f"{case['case']}.png").stat().st_size > 10_000
    assert "| case" in Path(folder / "evaluation" / method / "summary.md").read_text(encoding="utf-8")
