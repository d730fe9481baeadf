"""The projection: a sparse Gaussian process on a fixed grid of inducing points."""
