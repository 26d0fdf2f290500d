"""Document parsing in a resource-limited subprocess."""
