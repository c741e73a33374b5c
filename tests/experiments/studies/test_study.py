import pytest
import xarray as xr

from experiments.studies.rectification.study import Rectification
from experiments.studies.study import study_of

NAME = "experiments.studies.rectification.study.Rectification"


def test_results_name_their_study():
    assert study_of(xr.Dataset(attrs={"study": NAME})) is Rectification


@pytest.mark.parametrize("name", ["os.system", "experiments.studies.none.None", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="study="):
        study_of(xr.Dataset(attrs={"study": name}))
