"""Linear algebra under `vmap`: small dense matrices, Lanczos iteration, rows of trees, trees."""

from rodflow.linalg import rows as rows
from rodflow.linalg import trees as trees
from rodflow.linalg.complementarity import complementary as complementary
from rodflow.linalg.complementarity import kkt_residual as kkt_residual
from rodflow.linalg.decompositions import eigh as eigh
from rodflow.linalg.decompositions import eigvalsh as eigvalsh
from rodflow.linalg.decompositions import solve as solve
from rodflow.linalg.lanczos import Eigenpairs as Eigenpairs
from rodflow.linalg.lanczos import largest_eigenpairs as largest_eigenpairs
from rodflow.linalg.lanczos import largest_eigenvalues as largest_eigenvalues
from rodflow.linalg.ritz import refine_eigenpairs as refine_eigenpairs
