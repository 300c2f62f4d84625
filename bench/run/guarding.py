"""What a method could change to change its score: the arrays and the judge's features in the cache."""

from __future__ import annotations

import contextlib
import shutil

from bench.problem.posing import PosedProblem
from bench.util.cache import cache_dir, hashes_of


class Guard:
    """Knows the cache as it was before a method ran.

    The hashes stay in this process. A method that rewrites a file could rewrite a hash beside it too.

    Args:
        posed: the problem that the method works on.
    """

    def __init__(self, posed: PosedProblem) -> None:
        self._statistics = cache_dir() / "statistics"
        self._folders = (posed.complete, posed.incomplete, self._statistics)
        self._before = {folder: hashes_of(folder) for folder in self._folders}

    def missing(self) -> bool:
        """Whether arrays of the problem are not there any more."""
        return any(self._before[folder].keys() - hashes_of(folder).keys() for folder in self._folders[:2])

    def remove_changed(self) -> str | None:
        """Remove what is not as it was, so that it is made anew before anything else uses it.

        Files that are not there any more were cleared, not forged: see `missing`. Statistics that are new may
        be another cell's or the method's. They are removed without a complaint, because they only cost time
        to make.

        Returns:
            What was changed, on one line; None if nothing was.
        """
        changed: list[str] = []
        for folder, before in self._before.items():
            now = hashes_of(folder)
            other = [name for name in now if now[name] != before.get(name)]
            if folder == self._statistics:
                for name in other:
                    with contextlib.suppress(OSError):
                        (folder / name).unlink()
                changed += [name for name in other if name in before]
            elif now != before:
                shutil.rmtree(folder, ignore_errors=True)
                changed += other
        if not changed:
            return None
        return (
            f"files in the cache were changed while the method ran ({', '.join(changed)}); they are removed, "
            "and the next run makes them anew; no method may write there"
        )
