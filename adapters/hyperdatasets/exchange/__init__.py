"""Import and export of data sets in the formats of others."""
