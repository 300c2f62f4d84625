"""bench: a benchmark harness for image imputation when most pixels are missing."""

__version__ = "0.2.0"
