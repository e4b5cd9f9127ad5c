"""Versions as datasets of MLflow. MLflow finds them by the entry points of this package."""

from importlib import import_module

# It loads `datasets` by the entry points, which fails while `datasets` itself is being imported.
import_module("mlflow.data")

from .datasets import FramelodeDataset, FramelodeDatasetSource, from_framelode  # noqa: E402 - after MLflow

__all__ = ["FramelodeDataset", "FramelodeDatasetSource", "from_framelode"]
