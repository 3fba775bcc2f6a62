"""The actors: their runtime, and the four components of the scheduler."""
