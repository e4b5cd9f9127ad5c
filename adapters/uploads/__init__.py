"""Uploads: local files of frames are sent to a destination, and the frames then name what was sent."""
