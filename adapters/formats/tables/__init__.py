"""Tables of annotations: a row for each box or label, in CSV and Parquet files."""
