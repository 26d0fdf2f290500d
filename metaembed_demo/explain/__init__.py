"""Attribution of a hit's score to words, and an occlusion test of it."""
