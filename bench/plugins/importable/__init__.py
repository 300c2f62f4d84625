"""A folder for `PYTHONPATH` and `sys.path`: a plugin file's module is found in it, by its name."""
