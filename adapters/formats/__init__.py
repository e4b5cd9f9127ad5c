"""Formats of data sets: one module for each, with its sniffer, reader and writer."""
