"""Shared by all packages: types, budgets, settings, text formatting, atomic file writes."""
