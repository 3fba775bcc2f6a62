"""A process of the operating system, in miniature: one thread, virtual time, and a kill that works.

``World`` holds the clock and the processes on it, ``VirtualProcess`` one process with its greenlets
and timers, ``VirtualScheduler`` a ``kalends.Scheduler`` that lives in one.
"""
