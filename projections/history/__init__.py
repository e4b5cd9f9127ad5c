"""The history of frames and versions."""
