"""How well pages are found and explained."""
