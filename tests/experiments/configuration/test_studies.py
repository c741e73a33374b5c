import pytest

from experiments.configuration.studies import WarmupConfig

WARMUP = {
    "_target_": "experiments.studies.warmup.study.Warmup",
    "problem": [],
    "train": 8,
    "test": 4,
    "batch": 2,
    "steps": 6,
    "measurements": 3,
    "b2": 0.999,
    "eps": 1e-4,
    "warmups": [5, 20],
    "wait": 2,
    "learning_rates": [0.1, 0.01],
    "shown": 0.1,
    "inits": 1,
    "members": 2,
    "seed": 0,
}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("steps", 0, "experiment.steps=0 is out of range: it must be at least 1"),
        ("members", 1, "experiment.members=1 is out of range: it must be at least 2"),
        ("b2", 1.0, "experiment.b2=1.0 is out of range"),
        ("eps", 0.0, "experiment.eps=0.0 is out of range: it must be above 0"),
        ("warmups", [], "experiment.warmups is empty"),
        ("warmups", [5, 5], r"experiment.warmups=\[5, 5\] names one of them twice"),
        ("learning_rates", [0.1, 0.0], "experiment.learning_rates=0.0 is out of range"),
        ("shown", 0.2, r"experiment.shown=0.2 is none of experiment.learning_rates=\[0.1, 0.01\]"),
        ("seed", -1, "experiment.seed=-1 is out of range"),
    ],
)
def test_values_out_of_range_are_named(key, value, message):
    assert WarmupConfig(**WARMUP).seed == 0
    with pytest.raises(ValueError, match=message):
        WarmupConfig(**WARMUP | {key: value})
