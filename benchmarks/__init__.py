"""How fast the methods and the harness are: ours against a textbook rendering of the same mathematics.

Every claim is a ratio of two measurements of one run, each made in a fresh process, the two sides taking
turns. `python -m benchmarks` prints the table and writes it as JSON.
"""
