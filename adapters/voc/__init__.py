"""Import of Pascal VOC folders."""
