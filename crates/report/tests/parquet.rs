//! Parquet, read again by its own reader.
