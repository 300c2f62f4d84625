"""The plugin file that `BENCH_PLUGIN` names, in processes that the plugin starts.

A process that is not forked imports the module of each function or class that it is sent. The module of a
plugin file has no file of its name, so this one runs the plugin's code in its place.
"""

import os
import sys
from pathlib import Path

__file__ = os.environ["BENCH_PLUGIN"]
# As in the method's process: other files beside the plugin come last, and nothing is written there.
if str(Path(__file__).parent) not in sys.path:
    sys.path.append(str(Path(__file__).parent))
sys.dont_write_bytecode = True
exec(compile(Path(__file__).read_bytes(), __file__, "exec"))
