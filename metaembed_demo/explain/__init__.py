"""Why a page was found, and the test of that explanation."""
