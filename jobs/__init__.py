"""Jobs: what an event runs. Names and functions, arguments and results, and the threads that run
them.
"""
