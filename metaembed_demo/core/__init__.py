"""What every room uses: types, budgets, settings, text, files on disk."""
