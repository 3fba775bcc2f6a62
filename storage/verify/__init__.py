"""Verification of the ledger: one module for each thing that is checked, and the way through."""
