"""Default hyperparameters that several transformations share."""

B1 = 0.9
ADAM_B2 = 0.999
RMS_B2 = 0.99
EPS = 1e-8
CURVATURE_EPS = 1e-4  # added to a second moment itself, instead of its root
