"""Ranges of the keys of studies, which stand in the classes of `experiments.studies`."""

import pytest
from hydra.utils import instantiate

from experiments.configuration.config import load_study


@pytest.mark.parametrize(
    ("study", "override", "message"),
    [
        ("warmup", "steps=0", "study.steps=0 is out of range: it must be at least 1"),
        ("warmup", "members=1", "study.members=1 is out of range: it must be at least 2"),
        ("warmup", "b2=1", "study.b2=1.0 is out of range: it must be above 0.6 and below 1"),
        ("warmup", "eps=0", "study.eps=0.0 is out of range: it must be above 0"),
        ("warmup", "warmups=[]", "study.warmups is empty"),
        ("warmup", "warmups=[5,5]", r"study.warmups=\[5, 5\] names one of them twice"),
        ("warmup", "learning_rates=[0.03,0]", r"study.learning_rates=0\.0 is out of range"),
        ("warmup", "seed=-1", "study.seed=-1 is out of range"),
        ("coevolution", "points=4", "study.points=4 is out of range: it must be odd and at least"),
        ("coevolution", "optimizers.sgd=0", r"study.optimizers.sgd=0\.0 is out of range"),
        ("root_free", "weight_decay=[1,0.5]", r"study.weight_decay=\[1.0, 0.5\]: it must be"),
        ("root_free", "learning_rates.sgd=[1]", r"study.learning_rates.sgd=\[1.0\]: it must be"),
        ("root_free", "models.cnn.width=0", "study.models.cnn.width=0 is out of range"),
        ("beyond_networks", "digit=10", "study.digit=10 is out of range: it must be from 0 to 9"),
        ("rectification", "b2s=[0.5]", "study.b2s=0.5 is out of range"),
    ],
)
def test_values_out_of_range_are_named(study, override, message):
    with pytest.raises(Exception, match=message):
        load_study([f"study={study}", f"study.{override}"])


@pytest.mark.parametrize(
    ("study", "override", "message"),
    [
        ("warmup", "shown=0.2", r"study.shown=0.2 is none of study.learning_rates=\[0.1, 0.03"),
        ("coevolution", "selected=32", "study.selected=32 is out of range: it must be fewer than"),
        ("coevolution", "test_seeds=[0]", r"study.test_seeds=\[0\]: seeds must differ"),
        ("coevolution", "optimizers.x=1", "study.optimizers.x: no such optimizer; choose from"),
        ("root_free", "batch_size=501", "study.batch_size=501 is out of range: .* from 1 to 500"),
        ("root_free", "half_precision=[x]", "study.half_precision: x is not in study.models"),
        ("root_free", "tuning_seeds=[1]", r"study.tuning_seeds=\[1\]: \[1\] are in study.test_s"),
        ("beyond_networks", "batch_size=800", "study.batch_size=800 .* below the 800 samples"),
    ],
)
def test_values_that_do_not_go_together_are_refused_by_the_study(study, override, message):
    added = "+" if ".x=" in override else ""
    chosen = load_study([f"study={study}", f"{added}study.{override}"])
    with pytest.raises(Exception, match=message):
        instantiate(chosen.study, _recursive_=False)
