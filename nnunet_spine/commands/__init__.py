"""One module per subcommand, named after it (`_` for `-`): `HELP`, `add_arguments(parser)` and `run(args)`.

Modules import nothing heavy at the top; what needs torch or nnU-Net is imported inside `run`.
"""

COMMANDS = (
    "env",
    "doctor",
    "trainers",
    "labels",
    "phantom",
    "convert",
    "merge",
    "verify",
    "plan",
    "model",
    "predict",
    "crop",
    "paste",
    "relabel",
    "evaluate",
    "deviation",
    "heights",
    "report",
    "picture",
    "spine-map",
    "fuse",
    "tune-fusion",
    "demo",
)
