"""Uploads local files of frames to a destination, and replaces the URIs in the frames."""
