from io import BytesIO

import numpy as np
from PIL import Image

from experiments.report import animation


def test_a_frame_is_a_step_around_the_first_burst(run_with_paths):
    image = Image.open(BytesIO(animation.gif(run_with_paths)))
    assert (image.n_frames, image.size) == (60, (600, 480))
    frames = []
    for index in (0, 59):
        image.seek(index)
        frames.append(np.asarray(image.convert("RGB"), int))
    assert np.abs(frames[0] - frames[1]).max() > 100


def test_a_flow_that_diverged_is_left_out(run_with_paths):
    lost = run_with_paths[["flow_path", "rod_path"]].where(False)
    assert animation.gif(run_with_paths.assign(lost).isel(time=slice(0, 5)))
