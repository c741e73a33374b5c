import inspect

import pytest

from experiments.benchmarks import PARTS, part


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_a_generator_of_its_name(name):
    found = inspect.unwrap(part(name))  # from the type checker of the tests
    assert inspect.isgeneratorfunction(found)
    assert found.__name__ == name and found.__module__.startswith("experiments.benchmarks.")
    assert not inspect.signature(found).parameters
