"""What a server and everything that it has started uses."""

from __future__ import annotations

import signal

import psutil


class ProcessTree:
    """A process and its descendants, looked up anew each time, for servers start workers when they like.

    Args:
        pid: of the process that all others descend from.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    @property
    def is_running(self) -> bool:
        return self._root.is_running() and self._root.status() != psutil.STATUS_ZOMBIE

    def members(self) -> list[psutil.Process]:
        """The process itself first."""
        return [self._root, *self._root.children(recursive=True)]

    def cpu_s(self) -> float:
        """CPU seconds, in user and system mode, that all of them have used, ended children included.

        The kernel counts in ticks of 10 ms; over some seconds of load that is less than a percent.
        """
        total_s = 0.0
        for member in self.members():
            try:
                times = member.cpu_times()
            except psutil.Error:  # it has just ended; its parent has its time from now on
                continue
            total_s += times.user + times.system + times.children_user + times.children_system
        return total_s

    def memory_bytes(self) -> int:
        """Proportional set size of all of them: pages that several share count once."""
        total = 0
        for member in self.members():
            try:
                total += member.memory_full_info().pss
            except psutil.Error:
                continue
        return total

    def rss_bytes(self) -> int:
        """Resident memory of all of them; what several share counts for each. Quicker to read than `memory_bytes`."""
        total = 0
        for member in self.members():
            try:
                total += member.memory_info().rss
            except psutil.Error:
                continue
        return total

    def end(self, timeout_s: float = 10.0) -> None:
        """Asks the process to end, as Ctrl-C does, and kills what is left of the tree after a while."""
        try:
            members = self.members()
        except psutil.NoSuchProcess:
            return
        self._root.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(members, timeout=timeout_s)
        for straggler in left:
            straggler.kill()
        psutil.wait_procs(left, timeout=timeout_s)
