"""`nnunet-spine env`: the line that lets nnU-Net find the trainers."""

import argparse
import os
import shlex

from nnunet_spine.io.environment import ext_trainer_value

HELP = "print the shell line that lets nnU-Net find our trainers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = 'Use it as: eval "$(nnunet-spine env)"'


def run(args: argparse.Namespace) -> None:
    print(f"export nnUNet_extTrainer={shlex.quote(ext_trainer_value(os.environ.get('nnUNet_extTrainer')))}")
