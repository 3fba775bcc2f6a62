"""Executors: where jobs run. One contract (``base``), several kinds."""
